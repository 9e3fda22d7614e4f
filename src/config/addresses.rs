//! Meanings of single texts that are addresses: web, mail, sockets.
//!
//! No refusal of a web address repeats it, because it may hold a secret.

use std::net::{IpAddr, SocketAddr};

use lettre::message::Mailbox;
use url::{Host, Url};

use super::values::Refusal;

/// A mail address, with or without a name.
pub(super) fn mail(text: &str) -> Result<String, Refusal> {
    match text.parse::<Mailbox>() {
        Ok(mailbox) => Ok(mailbox.to_string()),
        Err(error) => Err(Refusal::new(
            "bad-address",
            format!("`{text}` is not a mail address: {error}"),
            "write an address like \"oncall@example.com\" or \"Tardy <tardy@example.com>\"",
        )),
    }
}

/// `127.0.0.1:8090`.
pub(super) fn socket(text: &str) -> Result<SocketAddr, Refusal> {
    let text = text
        .strip_prefix("localhost:")
        .map_or_else(|| text.to_owned(), |port| format!("127.0.0.1:{port}"));
    text.parse().map_err(|_| {
        Refusal::new(
            "bad-socket",
            format!("`{text}` is not an address to listen on"),
            "write an IP address and a port, like \"127.0.0.1:8090\" or \"[::]:8090\"",
        )
    })
}

/// This machine itself.
pub(super) fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// An https address, or http on loopback. The text is never repeated.
pub(super) fn web_address(text: &str) -> Result<Url, Refusal> {
    let example = "write an address like \"https://example.com/path\"";
    let url = Url::parse(text).map_err(|error| {
        Refusal::new(
            "bad-url",
            format!("this is not an address: {error}"),
            example,
        )
    })?;
    if !matches!(url.scheme(), "http" | "https") {
        let message = "this address is neither http nor https";
        return Err(Refusal::new("not-http", message, example));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Refusal::new(
            "bare-secret",
            "this address holds a user name or password",
            "remove the part before the @; secrets are given as { env = \"NAME\" }",
        )
        .label("credentials in an address"));
    }
    if url.scheme() == "http" && !is_url_loopback(&url) {
        return Err(Refusal::new(
            "not-https",
            "this address is not https, and not on this machine",
            "write https://…; plain http is allowed only for localhost, 127.0.0.1 and [::1]",
        ));
    }
    Ok(url)
}

fn is_url_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => is_loopback(name),
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

/// A postgres address. The text is never repeated.
pub(super) fn postgres_address(text: &str) -> Result<(), Refusal> {
    let help = "write an address like postgres://user@host/database";
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "postgres" | "postgresql") && url.has_host() => Ok(()),
        Ok(_) => Err(Refusal::new(
            "bad-url",
            "this is not a postgres:// address",
            help,
        )),
        Err(error) => Err(Refusal::new(
            "bad-url",
            format!("this is not an address: {error}"),
            help,
        )),
    }
}

/// A link for people, http or https.
pub(super) fn link(text: &str) -> Result<String, Refusal> {
    let is_web = text.starts_with("https://") || text.starts_with("http://");
    if is_web && (text.contains('{') || Url::parse(text).is_ok()) {
        return Ok(text.to_owned());
    }
    Err(Refusal::new(
        "not-http",
        format!("`{text}` is not an http or https address"),
        "write an address like \"https://wiki.example.com/runs\"",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_https_or_local() {
        for (text, code) in [
            ("https://api.dagctl.io", ""),
            ("http://localhost:8080", ""),
            ("http://127.0.0.2/x", ""),
            ("http://[::1]:1", ""),
            ("http://example.com", "not-https"),
            ("http://localhost.example.com", "not-https"),
            ("ftp://example.com", "not-http"),
            ("example.com", "bad-url"),
            ("https://me:pw@example.com", "bare-secret"),
        ] {
            let found = web_address(text).err().map_or("", |refusal| refusal.code);
            assert_eq!(found, code, "{text}");
        }
    }
}
