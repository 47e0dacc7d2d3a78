//! The network: who reaches whom, and what becomes of a message.

use crate::plan::{Action, MAX_NODES, Millis, Weather};
use crate::rng::Rng;

/// The network between all nodes.
#[derive(Debug)]
pub(crate) struct Network {
    /// By sender: those who do not hear it.
    deaf: [u16; MAX_NODES],
    weather: Weather,
    rng: Rng,
}

impl Network {
    pub(crate) fn new(rng: Rng) -> Self {
        Self {
            deaf: [0; MAX_NODES],
            weather: Weather::FAIR,
            rng,
        }
    }

    pub(crate) fn act(&mut self, action: &Action) {
        match action {
            Action::Cut {
                from,
                to,
                is_both_ways,
            } => {
                self.cut(*from, *to);
                if *is_both_ways {
                    self.cut(*to, *from);
                }
            }
            Action::Mend => self.deaf = [0; MAX_NODES],
            Action::Weather(weather) => self.weather = *weather,
            _ => {}
        }
    }

    fn cut(&mut self, from: u16, to: u16) {
        for (sender, deaf) in self.deaf.iter_mut().enumerate() {
            if from & (1 << sender) != 0 {
                *deaf |= to & !(1 << sender);
            }
        }
    }

    /// Whether what `from` sends gets to `to` at all.
    pub(crate) fn reaches(&self, from: usize, to: usize) -> bool {
        self.deaf[from] & (1 << to) == 0
    }

    /// Whether a connection between the two carries anything: both ways have to be open.
    pub(crate) fn carries(&self, one: usize, other: usize) -> bool {
        self.reaches(one, other) && self.reaches(other, one)
    }

    /// After how long copies of a message arrive: none when it is lost.
    pub(crate) fn deliveries(&mut self, from: usize, to: usize) -> Vec<Millis> {
        if !self.reaches(from, to) || self.rng.happens(self.weather.lost) {
            return Vec::new();
        }
        let copies = if self.rng.happens(self.weather.doubled) {
            2
        } else {
            1
        };
        let longest = self.weather.longest.max(1);
        (0..copies).map(|_| self.rng.between(1, longest)).collect()
    }
}
