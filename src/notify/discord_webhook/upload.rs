//! A message with a file: `multipart/form-data`, as bytes that can be sent again.

use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Request};
use sha2::{Digest as _, Sha256};
use url::Url;

use super::super::Chart;

/// The message and its picture in one request.
pub(super) fn request(method: Method, url: &Url, json: &[u8], chart: &Chart) -> Request {
    // Nobody can write a text that holds the hash of the message it is in.
    let boundary = format!("tardy-{}", hex::encode(&Sha256::digest(json)[..16]));
    let mut request = Request::new(method, url.clone());
    if let Ok(kind) = HeaderValue::from_str(&format!("multipart/form-data; boundary={boundary}")) {
        request.headers_mut().insert(CONTENT_TYPE, kind);
    }
    *request.body_mut() = Some(body(json, chart, &boundary).into());
    request
}

fn body(json: &[u8], chart: &Chart, boundary: &str) -> Vec<u8> {
    let name = chart.file_name();
    let file = format!("name=\"files[0]\"; filename=\"{name}\"");
    let mut body = Vec::with_capacity(json.len() + chart.png.len() + 512);
    for (disposition, kind, content) in [
        ("name=\"payload_json\"", "application/json", json),
        (&file, "image/png", &chart.png),
    ] {
        let head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; {disposition}\r\nContent-Type: {kind}\r\n\r\n"
        );
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    body
}
