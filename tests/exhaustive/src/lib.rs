//! All that a small fleet can do, explored to the end within bounds, by [stateright](https://docs.rs/stateright).
//!
//! What is explored are the real rules of documents: the promises and answers of nodes, the writes of leaders, repair and
//! gathering, over the storage of the simulation. Who leads is left to chance: any node may claim the next term at any
//! moment above all that are known, so that nothing rests on there being one leader. A message arrives at any later moment or never, and so does its answer;
//! any node may lose its memory at any moment, and has what it stored.
//!
//! The rules keep all that they know in their storage. A state is therefore what the disks hold, who leads, and which
//! writes are under way; for each step the rules are started on a copy of it.

mod heal;
mod model;
mod node;
mod state;
mod steps;

pub use model::{Bounds, Fleet, Step};
pub use state::State;
