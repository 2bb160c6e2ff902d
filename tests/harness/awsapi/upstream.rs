//! One question to a plain HTTP server on loopback, and its whole answer.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use hyper::StatusCode;

use crate::http::Request;

const PATIENCE: Duration = Duration::from_secs(20);

/// Passes a request on as it came.
pub(super) fn pass(server: SocketAddr, request: &Request) -> io::Result<(StatusCode, Vec<u8>)> {
    let mut head = format!("{} {}", request.method, request.path);
    if !request.query.is_empty() {
        head += &format!("?{}", request.query);
    }
    head += " HTTP/1.1\r\n";
    let left_out = ["connection", "content-length", "expect", "transfer-encoding"];
    for (name, value) in request.headers.iter().filter(|(name, _)| !left_out.contains(&name.as_str())) {
        head += &format!("{name}: {}\r\n", value.to_str().unwrap_or_default());
    }
    ask(server, &head, &request.body)
}

/// Asks, with the head's last line not yet ended by an empty one.
///
/// # Errors
/// When the server does not answer, or not in HTTP.
pub fn ask(server: SocketAddr, head: &str, body: &[u8]) -> io::Result<(StatusCode, Vec<u8>)> {
    let mut stream = TcpStream::connect(server)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let head = format!("{head}content-length: {}\r\nconnection: close\r\n\r\n", body.len());
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let odd = || io::Error::new(io::ErrorKind::InvalidData, "the answer is no HTTP");
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").ok_or_else(odd)?;
    let status = answer.get(9..12).and_then(|digits| StatusCode::from_bytes(digits).ok()).ok_or_else(odd)?;
    Ok((status, answer.split_off(end + 4)))
}
