//! What only one kind of source can go through.
