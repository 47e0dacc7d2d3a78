//! The gRPC services that people and programs use, and the authentication before them.
