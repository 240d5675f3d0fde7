//! A client that sends exactly what a test says, over plain http.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// Sends one request and returns the answer, head and body, once its last byte is there; the connection stays open
/// meanwhile.
pub fn ask(host: &str, request: &str, headers: &str, body: &[u8]) -> String {
    let mut connection = TcpStream::connect(host).unwrap();
    let length = body.len();
    let head = format!("{request} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n{headers}\r\n");
    // In one piece: a server may answer before it has seen all, and close.
    connection.write_all(&[head.as_bytes(), body].concat()).unwrap();
    let mut answer = BufReader::new(connection);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(answer.read_line(&mut head).unwrap() > 0, "half an answer: {head}");
    }
    let mut body = vec![0; header(&head, "Content-Length").map_or(0, |length| length.parse().unwrap())];
    answer.read_exact(&mut body).unwrap();
    head + &String::from_utf8_lossy(&body)
}

/// The value of an answer's header, spelled as it is.
pub fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// An answer's status.
pub fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

/// An answer's body.
pub fn body(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").unwrap().1
}

/// The header of a Basic login.
pub fn basic(user: &str, password: &str) -> String {
    format!("Authorization: Basic {}\r\n", BASE64_STANDARD.encode(format!("{user}:{password}")))
}
