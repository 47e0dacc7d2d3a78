//! The functions of expressions beyond the language's own.

use super::types::Type;

/// A function of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Sum,
    Min,
    Max,
    Flatten,
    RollingRestartable,
    Up,
    SurvivesRestart,
    Converged,
    Connections,
}

impl Function {
    pub(super) const ALL: [(&'static str, Self); 9] = [
        ("sum", Self::Sum),
        ("min", Self::Min),
        ("max", Self::Max),
        ("flatten", Self::Flatten),
        ("rolling_restartable", Self::RollingRestartable),
        ("up", Self::Up),
        ("survives_restart", Self::SurvivesRestart),
        ("converged", Self::Converged),
        ("connections", Self::Connections),
    ];

    pub(super) fn find(name: &str) -> Option<Self> {
        let found = Self::ALL.iter().find(|(known, _)| *known == name);
        found.map(|(_, function)| *function)
    }

    /// How it is called, for messages.
    pub(super) fn usage(self) -> &'static str {
        match self {
            Self::Sum => "sum(LIST of numbers)",
            Self::Min => "min(LIST of numbers)",
            Self::Max => "max(LIST of numbers)",
            Self::Flatten => "flatten(LIST of lists)",
            Self::RollingRestartable => {
                "rolling_restartable(\"BACKEND\", AT_A_TIME, MIN_UP), such as (\"app\", 2, 0.8)"
            }
            Self::Up => "up(\"BACKEND\")",
            Self::SurvivesRestart => "survives_restart(\"SERVER\")",
            Self::Converged => "converged()",
            Self::Connections => "connections()",
        }
    }

    /// The type of its value, if it takes arguments of these types.
    pub(super) fn result(self, arguments: &[Type]) -> Option<Type> {
        let takes = |wanted: &[Type]| {
            let fits = wanted
                .iter()
                .zip(arguments)
                .all(|(wanted, found)| wanted.join(found).is_some());
            wanted.len() == arguments.len() && fits
        };
        match self {
            Self::Sum | Self::Min | Self::Max => match arguments {
                [Type::List(element)] if element.is_number() => Some(match &**element {
                    Type::Never => Type::Int,
                    element => element.clone(),
                }),
                [Type::Dyn] => Some(Type::Dyn),
                _ => None,
            },
            Self::Flatten => match arguments {
                [Type::List(element)] => match &**element {
                    Type::List(inner) => Some(Type::list((**inner).clone())),
                    open if open.is_open() => Some(Type::list(open.clone())),
                    _ => None,
                },
                [Type::Dyn] => Some(Type::Dyn),
                _ => None,
            },
            Self::RollingRestartable => {
                let shares = [Type::Double, Type::Int];
                let fits = |share: Type| takes(&[Type::String, Type::Int, share]);
                shares.into_iter().any(fits).then_some(Type::Bool)
            }
            Self::Up | Self::SurvivesRestart => takes(&[Type::String]).then_some(Type::Bool),
            Self::Converged => takes(&[]).then_some(Type::Bool),
            Self::Connections => takes(&[]).then_some(Type::Int),
        }
    }
}
