//! One HAProxy: render, check, plan, runtime socket, process, handover.
