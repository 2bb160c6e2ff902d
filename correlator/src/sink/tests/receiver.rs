//! A receiver on loopback that answers as a test wants: with any status, late, half, or not at all.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) path: String,
    /// In lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

#[derive(Debug, Clone)]
pub(crate) enum Reply {
    Status(u16, &'static str, String),
    /// As `Status`, after so long.
    Late(Duration, u16),
    /// The connection is closed, without an answer.
    Cut,
    /// It is closed within the answer.
    Half,
}

impl Reply {
    pub(crate) fn ok() -> Self {
        Self::Status(200, "", String::new())
    }

    pub(crate) fn status(status: u16) -> Self {
        Self::Status(status, "", String::new())
    }
}

/// What came, in order.
#[derive(Clone)]
pub(crate) struct Receiver {
    pub(crate) url: String,
    came: Arc<Mutex<Vec<Request>>>,
}

impl Receiver {
    /// `answer` is given the number of the request, from 0.
    pub(crate) fn start(answer: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let came: Arc<Mutex<Vec<Request>>> = Arc::default();
        let (held, answer) = (Arc::clone(&came), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (held, answer) = (Arc::clone(&held), Arc::clone(&answer));
                thread::spawn(move || serve(stream, &held, &*answer));
            }
        });
        Self { url, came }
    }

    pub(crate) fn came(&self) -> Vec<Request> {
        self.came.lock().unwrap().clone()
    }
}

fn serve(stream: TcpStream, came: &Mutex<Vec<Request>>, answer: &dyn Fn(usize, &Request) -> Reply) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut writer = stream;
    while let Some(request) = read(&mut reader) {
        let n = {
            let mut came = came.lock().unwrap();
            came.push(request.clone());
            came.len() - 1
        };
        let (status, headers, body) = match answer(n, &request) {
            Reply::Status(status, headers, body) => (status, headers, body),
            Reply::Late(wait, status) => {
                thread::sleep(wait);
                (status, "", String::new())
            }
            Reply::Cut => {
                drop(writer.shutdown(Shutdown::Both));
                return;
            }
            Reply::Half => {
                drop(writer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"half\":"));
                drop(writer.shutdown(Shutdown::Both));
                return;
            }
        };
        let head = format!("HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\n\r\n{body}", body.len());
        if writer.write_all(head.as_bytes()).is_err() {
            return;
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        assert!(headers.insert(name.to_lowercase(), value.to_owned()).is_none(), "{name} is there twice");
    }
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { path, headers, body: String::from_utf8(body).unwrap() })
}
