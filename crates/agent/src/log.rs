//! The agent's log: lines on standard error, as text or JSON.

use tracing_subscriber::EnvFilter;

use crate::config::{LogConfig, LogFormat};

/// The lines that `config` asks for.
///
/// # Errors
/// When the filter is not in the notation of `EnvFilter`; it names the part that is wrong.
pub(crate) fn filter(config: &LogConfig) -> Result<EnvFilter, String> {
    EnvFilter::try_new(&config.filter).map_err(|error| {
        format!(
            "log.filter: {:?} is not a filter: {error}; write info, or hafleet_cluster=debug,info",
            config.filter
        )
    })
}

/// Begins logging for the whole process. A second call changes nothing.
///
/// # Errors
/// As [`filter`].
pub(crate) fn begin(config: &LogConfig) -> Result<(), String> {
    let filter = filter(config)?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false);
    let begun = match config.format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    if let Err(error) = begun {
        tracing::debug!(%error, "the process logs already");
    }
    Ok(())
}
