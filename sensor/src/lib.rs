//! The host agent: kernel records in, ECS events out.
