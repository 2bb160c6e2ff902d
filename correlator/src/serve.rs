//! Alerts and incidents of a store in a browser: a list that goes on by itself, and the page of `report` for each incident.
//! Nothing can be changed from there, and no page asks for anything that is not served here.

mod board;
mod door;
mod http;
mod page;

pub use board::Board;
pub use door::{Door, token};
pub use http::{ServeError, Server};
