//! What the end-to-end tests share: traces, a virtual clock, stand-ins for AWS.
#![forbid(unsafe_code)]
