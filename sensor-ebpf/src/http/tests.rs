extern crate std;

use std::string::String;
use std::vec::Vec;

use super::*;

impl Conversation {
    fn request(&mut self, byte: u8) -> bool {
        self.asked.step(&REQUESTS, &mut self.line, byte);
        let is_done = self.asked.is_done(&REQUESTS);
        if is_done {
            self.asked.restart();
        }
        is_done
    }
}

/// First line and signs of each request, and ids of keys, found in segments of what went out or came in.
fn requests(segments: &[&str]) -> Vec<(String, u32)> {
    let (mut talk, mut sequence, mut found) = (Conversation::EMPTY, 1000_u32, Vec::new());
    for segment in segments {
        assert_eq!(talk.ask(sequence, segment.len() as u32), 0);
        sequence += segment.len() as u32;
        for byte in segment.bytes() {
            if talk.request(byte) {
                found.push(told(&talk));
            }
        }
    }
    found
}

fn told(talk: &Conversation) -> (String, u32) {
    (String::from_utf8_lossy(&talk.line[..talk.asked.len as usize]).into_owned(), talk.asked.signs)
}

fn keys(segments: &[&str]) -> Vec<String> {
    let (mut talk, mut found) = (Conversation::EMPTY, Vec::new());
    for byte in segments.concat().bytes() {
        talk.heard.step(&ANSWERS, &mut talk.key, byte);
        let is_done = talk.heard.is_done(&ANSWERS);
        if is_done {
            talk.heard.restart();
        }
        if is_done && talk.has_key() {
            found.push(String::from_utf8_lossy(&talk.key[..talk.heard.len as usize]).into_owned());
        }
    }
    found
}

fn check(request: &str, line: &str, signs: u32) {
    let expect = [(String::from(line), signs)];
    assert_eq!(requests(&[request]), expect, "whole");
    let bytes: Vec<&str> = (0..request.len()).map(|at| &request[at..=at]).collect();
    assert_eq!(requests(&bytes), expect, "byte by byte");
}

#[test]
fn a_request_is_its_line_and_which_headers_it_has() {
    check("GET /latest/ HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n", "GET /latest/ HTTP/1.1", 0);
    check("GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.0", 0);
    check("GET / HTTP/1.0\nA: b\n\n", "GET / HTTP/1.0", 0);
    check(
        "GET /a HTTP/1.1\r\nHost: x\r\nX-aws-EC2-metadata-token: AQAEA-hush\r\nAccept: */*\r\n\r\n",
        "GET /a HTTP/1.1",
        sign::TOKEN,
    );
    check("GET /a HTTP/1.1\r\nx-aws-ec2-metadata-token:x\r\n\r\n", "GET /a HTTP/1.1", sign::TOKEN);
    check(
        "PUT /latest/api/token HTTP/1.1\r\nX-AWS-EC2-METADATA-TOKEN-TTL-SECONDS: 60\r\n\r\n",
        "PUT /latest/api/token HTTP/1.1",
        sign::TOKEN_TTL,
    );
}

#[test]
fn the_tokens_name_elsewhere_is_no_token() {
    for header in [
        "Note: x-aws-ec2-metadata-token: a",
        "y-x-aws-ec2-metadata-token: a",
        "x-aws-ec2-metadata-tokens: a",
        "x_aws_ec2_metadata_token: a",
        "x-aws-ec2-metadata-toke",
    ] {
        let request = std::format!("GET /a HTTP/1.1\r\n{header}\r\n\r\n");
        check(&request, "GET /a HTTP/1.1", 0);
    }
}

#[test]
fn a_query_is_left_out_and_said() {
    check("GET /a?token=hush&b=c HTTP/1.1\r\n\r\n", "GET /a HTTP/1.1", sign::QUERY);
    check("GET /a??x?y HTTP/1.1\r\n\r\n", "GET /a HTTP/1.1", sign::QUERY);
}

#[test]
fn requests_on_one_connection_are_told_apart() {
    let put = "PUT /latest/api/token HTTP/1.1\r\nX-aws-ec2-metadata-token-ttl-seconds: 60\r\n\r\n";
    let get = ["GET /a HTTP/1.1\r\nX-aws-ec2-meta", "data-token: t\r\n", "\r\nGET /b HTTP/1.1\r\n\r\n"];
    let found = requests(&[put, get[0], get[1], get[2]]);
    let expect = [("PUT /latest/api/token HTTP/1.1", 2), ("GET /a HTTP/1.1", 1), ("GET /b HTTP/1.1", 0)];
    assert_eq!(found, expect.map(|(line, signs)| (String::from(line), signs)));
}

#[test]
fn what_follows_a_request_at_once_is_said_to_be_there() {
    for (more, signs) in [("", 0), ("GET /b HTTP/1.1\r\n\r\n", sign::MORE), ("\0\0", 0)] {
        let mut talk = Conversation::EMPTY;
        for byte in "GET /a HTTP/1.1\r\n\r\n".bytes().chain(more.bytes()) {
            talk.asked.step(&REQUESTS, &mut talk.line, byte);
        }
        assert!(talk.asked.is_done(&REQUESTS));
        assert_eq!(told(&talk), (String::from("GET /a HTTP/1.1"), signs));
    }
}

#[test]
fn a_long_line_is_cut_and_said() {
    let path = "p".repeat(400);
    let [(line, signs)] = &requests(&[&std::format!("GET /{path} HTTP/1.1\r\n\r\n")])[..] else { panic!() };
    assert_eq!((line.len(), *signs), (LINE_BYTES, 0), "a line that fills its room is cut");
}

#[test]
fn what_goes_out_again_is_known_by_its_number() {
    let mut talk = Conversation::EMPTY;
    assert_eq!(talk.ask(u32::MAX - 1, 10), 0);
    assert_eq!(talk.ask(u32::MAX - 1, 10), 10, "a repeat over the numbers' end");
    assert_eq!(talk.ask(3, 10), 5, "half of it is new");
    assert_eq!(talk.ask(13, 0), 0);
    talk.request(b'G');
    assert_eq!(talk.ask(20, 4), 0, "seven bytes are missing");
    assert!(!talk.give_up(), "and with them what was begun");
    assert_eq!(talk.ask(24, 4), 0);
}

#[test]
fn what_goes_on_beyond_is_given_up() {
    let mut talk = Conversation::EMPTY;
    talk.ask(0, 2000);
    assert!("GET /a HTTP/1.1\r\nA: b".bytes().all(|byte| !talk.request(byte)));
    assert!(talk.give_up());
    assert_eq!(told(&talk), (String::from("GET /a HTTP/1.1"), sign::HEADERS_CUT));
    assert!(!talk.give_up());
    // The rest of the headers comes in a segment of its own.
    let rest = "X-aws-ec2-metadata-token: hush\r\nHUSH: hush\r\nHUSH: +hush\r\n\r\nGET /b HTTP/1.1\r\n\r\n";
    let found = rest.bytes().filter(|&byte| talk.request(byte)).count();
    assert_eq!((found, told(&talk)), (1, (String::from("GET /b HTTP/1.1"), 0)));
}

#[test]
fn what_is_no_request_is_not_kept() {
    for other in
        ["SECRET=hush\r\n\r\n", "get /a HTTP/1.1\r\n\r\n", "HUSH +hush\r\n\r\n", "A\r\n\r\n", " /a\r\n\r\n"]
    {
        assert_eq!(requests(&[other]), [], "{other}");
    }
    let mut talk = Conversation::EMPTY;
    "GET /a HTTP/1.1\r\nX-aws-ec2-metadata-token: hush\r\nA: hush"
        .bytes()
        .for_each(|byte| _ = talk.request(byte));
    assert_eq!(&talk.line[..16], b"GET /a HTTP/1.1\0", "nothing of a header stays anywhere");
    assert!(talk.line[16..].iter().all(|&byte| byte == 0));
}

#[test]
fn only_the_id_of_a_key_is_taken_from_an_answer() {
    let answer = "HTTP/1.1 200 OK\r\n\r\n{\n  \"Code\" : \"Success\",\n  \"AccessKeyId\" : \"ASIAEXAMPLE000000001\",\n  \
                  \"SecretAccessKey\" : \"HUSHHUSHHUSHHUSHHUSHHUSHHUSHHUSHHUSHHUSH\",\n  \"Token\" : \"AQ\"}";
    assert_eq!(keys(&[answer]), ["ASIAEXAMPLE000000001"]);
    assert_eq!(keys(&["{\"AccessKeyId\":\"ASIAEXAMPLE0", "00000001\"}"]), ["ASIAEXAMPLE000000001"]);
    for none in [
        "{\"AccessKeyId\":\"short\"}",
        "{\"AccessKeyId\":\"A123456789ABCDE\"}",
        "{\"AccessKeyId\":\"ASIAEXAMPLE000000001",
        "{\"AccessKeyId\":\"ASIAEXAMPLE0000000/+\"}",
        "{\"AccessKeyId\":\"BSIAEXAMPLE000000001\"}",
        "{\"AccessKeyId\":null,\"x\":\"ASIAEXAMPLE000000001\"}",
        "{\"AccessKeyId\":\"ASIAEXAMPLE000000001ASIAEXAMPLE000000001\"}",
        "{\"SecretAccessKey\":\"ASIAEXAMPLE000000001\"}",
        "{\"NotAccessKeyID\":\"ASIAEXAMPLE000000001\"}",
    ] {
        assert_eq!(keys(&[none]), Vec::<String>::new(), "{none}");
    }
}
