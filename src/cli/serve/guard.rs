//! Who is answered.
//!
//! A page on the web can have its visitor's browser ask a server on the visitor's own machine. So a request must name this server as
//! one that it is known by (`Host`: a foreign name that was made to lead here is refused), must not come from another site's page
//! (`Origin`), and where other machines are answered, it must bring a token.

use crate::{Error, Result};
use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, COOKIE, HOST, HeaderMap, ORIGIN};
use std::net::{IpAddr, SocketAddr};

/// The cookie in which a page keeps the token.
const COOKIE_NAME: &str = "humdinger_token";
/// Bytes of a token that is made up.
const TOKEN_BYTES: usize = 16;

/// Decides who is answered.
pub(super) struct Guard {
    port: u16,
    /// Names and addresses that a request may have for this server, without the port.
    hosts: Vec<String>,
    /// Whether any address of numbers may be one of this machine's.
    any_number: bool,
    token: Option<String>,
}

impl Guard {
    /// For a server that listens at this address. The token is made up where others are answered and none is given.
    ///
    /// # Errors
    /// Where the token is one that cannot be sent, or the system gives no random numbers.
    pub fn new(address: SocketAddr, names: &[String], token: Option<String>) -> Result<Self> {
        let (ip, port) = (address.ip(), address.port());
        if let Some(token) = &token {
            let sendable = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
            if token.len() < 8 || !token.chars().all(sendable) {
                let detail = "must have at least 8 characters, all of them letters, digits or one of -._~";
                return Err(Error::usage("--token", detail));
            }
        }
        let token = match token {
            None if !ip.is_loopback() => Some(made_up()?),
            token => token,
        };
        let mut hosts: Vec<String> = names.iter().map(|name| name.to_ascii_lowercase()).collect();
        if ip.is_loopback() || ip.is_unspecified() {
            hosts.extend(["localhost", "127.0.0.1", "[::1]"].map(String::from));
        }
        hosts.push(host_of(ip));
        Ok(Self { port, hosts, any_number: ip.is_unspecified(), token })
    }

    /// The token that is asked for.
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Whether a request is from where one may come.
    ///
    /// # Errors
    /// Why not, with the status to answer.
    pub fn check_origin(&self, headers: &HeaderMap) -> Result<(), (StatusCode, &'static str)> {
        let once = |name| {
            let mut all = headers.get_all(name).iter();
            let first = all.next().map(|value| value.to_str().unwrap_or("\0"));
            if all.next().is_some() { Some("\0") } else { first }
        };
        let host = once(HOST).ok_or((StatusCode::BAD_REQUEST, "the request has no Host header"))?;
        if !self.is_own(host) {
            let detail = "this server is not known by the name in the Host header; --allow-host NAME allows one";
            return Err((StatusCode::MISDIRECTED_REQUEST, detail));
        }
        match once(ORIGIN) {
            Some(origin) if !same_site(origin, host) => {
                Err((StatusCode::FORBIDDEN, "pages of other sites are not answered (Origin)"))
            }
            _ => Ok(()),
        }
    }

    /// Whether a request brings the token, where one is asked for.
    pub fn knows_token(&self, headers: &HeaderMap) -> bool {
        let Some(token) = &self.token else { return true };
        let bearer = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let bearer =
            bearer.and_then(|value| value.split_once(' ')).filter(|(kind, _)| kind.eq_ignore_ascii_case("bearer"));
        let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut kept = cookies.flat_map(|line| line.split(';')).filter_map(|cookie| cookie.trim().split_once('='));
        bearer.is_some_and(|(_, given)| same(given.trim(), token))
            || kept.any(|(name, given)| name == COOKIE_NAME && same(given, token))
    }

    /// The header that has a browser keep the token, where it is the one given.
    pub fn cookie(&self, given: &str) -> Option<String> {
        let token = self.token.as_ref().filter(|token| same(given, token))?;
        Some(format!("{COOKIE_NAME}={token}; Path=/; HttpOnly; SameSite=Strict"))
    }

    fn is_own(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => (name, port.parse().ok()),
            _ => (host.as_str(), Some(80)),
        };
        let number = || name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
        // Behind a server that passes requests on, the port is that one's.
        let own_port = port == Some(self.port) || self.token.is_some();
        own_port && (self.hosts.iter().any(|own| own == name) || self.any_number && number())
    }
}

fn same_site(origin: &str, host: &str) -> bool {
    let site = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    site.is_some_and(|site| site.eq_ignore_ascii_case(host))
}

fn host_of(ip: IpAddr) -> String {
    if ip.is_ipv6() { format!("[{ip}]") } else { ip.to_string() }
}

/// Whether two texts are the same, in a time that does not tell how much of them is.
fn same(a: &str, b: &str) -> bool {
    let different = a.bytes().zip(b.bytes()).fold(0, |sum, (a, b)| sum | (a ^ b));
    std::hint::black_box(different) == 0 && a.len() == b.len()
}

fn made_up() -> Result<String> {
    let mut bytes = [0u8; TOKEN_BYTES];
    getrandom::fill(&mut bytes).map_err(|e| Error::usage("--token", format!("none can be made up ({e}); give one")))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::{HeaderName, HeaderValue};

    fn guard(address: &str, names: &[&str], token: Option<&str>) -> Guard {
        let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
        Guard::new(address.parse().unwrap(), &names, token.map(String::from)).unwrap()
    }

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn only_own_names_and_own_pages_are_answered() {
        let here = guard("127.0.0.1:8765", &[], None);
        let answer = |guard: &Guard, pairs: &[(HeaderName, &str)]| {
            guard.check_origin(&headers(pairs)).err().map_or(200, |(status, _)| status.as_u16())
        };
        for host in ["127.0.0.1:8765", "localhost:8765", "LOCALHOST:8765", "[::1]:8765"] {
            assert_eq!(answer(&here, &[(HOST, host)]), 200, "{host}");
        }
        for host in ["evil.example:8765", "127.0.0.1", "127.0.0.1:80", "127.0.0.1:8765.evil", "10.0.0.1:8765", "", ":"]
        {
            assert_eq!(answer(&here, &[(HOST, host)]), 421, "{host}");
        }
        assert_eq!(answer(&here, &[]), 400);
        let host = (HOST, "localhost:8765");
        for (origin, status) in [
            ("http://localhost:8765", 200),
            ("http://localhost:9999", 403),
            ("http://127.0.0.1:8765", 403),
            ("https://evil.example", 403),
            ("null", 403),
            ("", 403),
        ] {
            assert_eq!(answer(&here, &[host.clone(), (ORIGIN, origin)]), status, "{origin}");
        }
        let everywhere = guard("0.0.0.0:8765", &["hum.example"], Some("12345678"));
        for (host, status) in
            [("10.0.0.1:8765", 200), ("[fe80::1]:8765", 200), ("hum.example", 200), ("x.example", 421)]
        {
            assert_eq!(answer(&everywhere, &[(HOST, host)]), status, "{host}");
        }
    }

    #[test]
    fn a_token_is_asked_for_where_others_are_answered() {
        assert!(guard("127.0.0.1:1", &[], None).token().is_none() && guard("[::1]:1", &[], None).token().is_none());
        let (first, second) = (guard("0.0.0.0:1", &[], None), guard("0.0.0.0:1", &[], None));
        assert!(first.token().is_some_and(|token| token.len() == 32) && first.token() != second.token());
        let guard = guard("127.0.0.1:1", &[], Some("abcdefgh"));
        for (pair, known) in [
            ((AUTHORIZATION, "Bearer abcdefgh"), true),
            ((AUTHORIZATION, "bearer abcdefgh"), true),
            ((AUTHORIZATION, "Bearer abcdefg"), false),
            ((AUTHORIZATION, "Bearer abcdefghi"), false),
            ((AUTHORIZATION, "Basic abcdefgh"), false),
            ((COOKIE, "a=b; humdinger_token=abcdefgh"), true),
            ((COOKIE, "humdinger_token="), false),
            ((HOST, "abcdefgh"), false),
        ] {
            assert_eq!(guard.knows_token(&headers(std::slice::from_ref(&pair))), known, "{pair:?}");
        }
        for token in ["short", "with a space", "with;semicolon"] {
            let refused = Guard::new("127.0.0.1:1".parse().unwrap(), &[], Some(token.into())).err();
            assert!(refused.is_some_and(|error| error.to_string().contains("--token")), "{token}");
        }
    }
}
