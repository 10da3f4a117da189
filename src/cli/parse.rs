//! Parsers of single values. Each refusal says what would be right; clap puts the flag and the value in front of it.

use std::{
    net::{IpAddr, SocketAddr},
    num::{NonZeroU16, NonZeroU32},
    time::Duration,
};

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use jiff::Timestamp;
use url::{Host, ParseError, Url};

use crate::domain::{
    duration::{NotADuration, Span},
    expiry, names,
    ownership::{BadOwnerId, OwnerId},
    scopes::{Scope, UseCase},
};

/// The most reconciles at once; beyond it more memory is used and nothing gets faster.
const CONCURRENCY_MAX: u16 = 256;
/// The longest while of a Lease, in seconds.
const SECONDS_MAX: i64 = 3_600;

/// How many requests in a while; none is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(pub Option<NonZeroU32>);

/// Name of a namespace: a DNS label.
fn is_namespace(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

/// The one namespace that is looked into.
pub(super) fn one_namespace(text: &str) -> Result<String, String> {
    let text = text.trim();
    if is_namespace(text) {
        Ok(text.to_owned())
    } else {
        Err("must be the name of one namespace: 1 to 63 lower case letters, digits and hyphens, with no hyphen at \
             either end; -A is all namespaces"
            .to_owned())
    }
}

/// One of the namespaces that are served.
pub(super) fn namespace(text: &str) -> Result<String, String> {
    let text = text.trim();
    match (is_namespace(text), text.is_empty()) {
        (true, _) => Ok(text.to_owned()),
        (false, true) => Err("the name of a namespace is empty; leave the flag out to serve all namespaces".into()),
        (false, false) => Err("a namespace has 1 to 63 lower case letters, digits and hyphens, with no hyphen at \
                               either end; separate several by commas, such as team-a,team-b"
            .into()),
    }
}

/// How many reconciles at once.
pub(super) fn concurrency(text: &str) -> Result<NonZeroU16, String> {
    let number = text.trim().parse::<NonZeroU16>().ok().filter(|number| number.get() <= CONCURRENCY_MAX);
    number.ok_or_else(|| format!("must be a whole number from 1 to {CONCURRENCY_MAX}"))
}

/// How many requests in a while.
pub(super) fn limit(text: &str) -> Result<Limit, String> {
    let number = text.trim().parse::<u32>().map_err(|_| "must be a whole number, or 0 for no limit".to_owned())?;
    Ok(Limit(NonZeroU32::new(number)))
}

/// A switch, where it is given as an environment variable.
pub(super) fn switch(text: &str) -> Result<bool, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err("must be true or false".to_owned()),
    }
}

/// Name of an object in the cluster.
pub(super) fn object_name(text: &str) -> Result<String, String> {
    let text = text.trim();
    if names::is_object_name(text) {
        Ok(text.to_owned())
    } else {
        Err("must be a name that an object can have: lower case letters, digits, hyphens and dots, such as \
             bitbucket-connection-operator"
            .to_owned())
    }
}

/// A while of at least a second.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let bounds = Span::from_secs(1)..=Span::from_secs(SECONDS_MAX);
    let span = text.trim().parse::<Span>().ok().filter(|span| bounds.contains(span));
    let seconds = span.and_then(|span| u64::try_from(span.as_secs()).ok());
    seconds.map(Duration::from_secs).ok_or_else(|| "must be from 1s to 1h, such as 15s or 1m30s".to_owned())
}

/// An owner id.
pub(super) fn owner_id(text: &str) -> Result<OwnerId, BadOwnerId> {
    OwnerId::new(text.trim())
}

/// The word of a use case, in any case.
pub(super) fn use_case() -> impl TypedValueParser<Value = UseCase> {
    let names = UseCase::ALL.map(|case| PossibleValue::new(case.as_str()).help(case.purpose()));
    PossibleValuesParser::new(names).try_map(|word| {
        let named = UseCase::ALL.into_iter().find(|case| case.as_str().eq_ignore_ascii_case(&word));
        named.ok_or("is no use case")
    })
}

/// A scope by its full name.
pub(super) fn scope(text: &str) -> Result<Scope, String> {
    Scope::parse(text).filter(|scope| scope.as_str().contains(':')).ok_or_else(|| {
        "must be the full name of a scope, such as read:issue:bitbucket; separate several by commas".to_owned()
    })
}

/// The slug of a workspace.
pub(super) fn workspace(text: &str) -> Result<String, String> {
    let text = text.trim();
    let example = "such as hanzo-payments in bitbucket.org/hanzo-payments; separate several by commas";
    if names::is_workspace_slug(text) {
        Ok(text.to_owned())
    } else {
        Err(format!("must be the slug of a workspace, in lower case, {example}"))
    }
}

/// A duration such as 14d.
pub(super) fn span(text: &str) -> Result<Span, NotADuration> {
    text.parse()
}

/// When a token ends.
pub(super) fn expiry(text: &str) -> Result<Timestamp, String> {
    expiry::parse(text).ok_or_else(|| {
        "must be a date such as 2027-03-01, or an RFC 3339 time such as 2027-03-01T12:00:00Z; a date is 00:00 UTC of \
         that day"
            .to_owned()
    })
}

/// An address to listen on.
pub(super) fn listen(text: &str) -> Result<SocketAddr, String> {
    text.trim().parse().map_err(|_| {
        "must be an IP address and a port, such as 0.0.0.0:8080, 127.0.0.1:8080 or [::]:8080; port 0 takes a free one"
            .to_owned()
    })
}

/// The address of the Bitbucket API, without a slash at the end of its path.
pub(super) fn bitbucket_url(text: &str) -> Result<Url, String> {
    let example = "such as https://api.bitbucket.org/2.0";
    let mut url = Url::parse(text.trim()).map_err(|error| match error {
        ParseError::RelativeUrlWithoutBase => format!("must begin with https://, {example}"),
        other => format!("{other}; write a URL {example}"),
    })?;
    match url.scheme() {
        "https" => {}
        "http" if url.host().is_some_and(|host| is_loopback(&host)) => {}
        "http" => {
            return Err("http would send tokens in the clear; use https (http is for loopback addresses, such as \
                        http://127.0.0.1:8000/2.0)"
                .into());
        }
        other => return Err(format!("the scheme {other} is not supported; write an https URL {example}")),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!("must not hold a user or a password; tokens come from Secrets; write a URL {example}"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!("must end after its path, without '?' and '#'; write a URL {example}"));
    }
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Ok(url)
}

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

/// A host that Secrets may be sent to, in the form that [`Url::host`] gives, so that the two compare equal.
pub(super) fn kms_host(text: &str) -> Result<Host, String> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(match address {
            IpAddr::V4(address) => Host::Ipv4(address),
            IpAddr::V6(address) => Host::Ipv6(address),
        });
    }
    let example =
        "write a name or an address alone, such as kms.example.com, 10.0.0.7 or [fd00::7], separated by commas";
    let fault = if text.is_empty() {
        "the name of a host is empty"
    } else if text.contains("://") || text.contains(['/', '?', '#', '@']) {
        "must not be a URL"
    } else if text.contains('*') {
        "wildcards are not supported, since every host named here is trusted with Secrets"
    } else if text.contains([':', '[', ']']) {
        "must not have a port: all ports of an allowed host are allowed"
    } else {
        match Host::parse(text) {
            Ok(Host::Domain(name)) if !is_dns_name(&name) => "is no DNS name",
            Ok(host) => return Ok(host),
            Err(_) => "is no DNS name",
        }
    };
    Err(format!("{fault}; {example}"))
}

fn is_dns_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len()) && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    name.len() <= 253 && name.strip_suffix('.').unwrap_or(name).split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_are_dns_labels() {
        for good in ["a", "team-a", "0", &"x".repeat(63), " padded "] {
            assert_eq!(namespace(good).as_deref(), Ok(good.trim()));
        }
        for bad in ["", "Team", "a_b", "a.b", "-a", "a-", "ä", &"x".repeat(64), "a b"] {
            assert!(namespace(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_wanted_of_a_token_is_written_as_in_a_spec() {
        assert_eq!(scope("read:issue").as_ref().map(Scope::as_str), Ok("read:issue:bitbucket"));
        assert!(["", "issue", "read issue", "read:issue;"].iter().all(|bad| scope(bad).is_err()));
        assert_eq!(workspace(" hanzo-payments ").as_deref(), Ok("hanzo-payments"));
        assert!(["", "Hanzo", "bitbucket.org/hanzo"].iter().all(|bad| workspace(bad).is_err()));
        assert!(expiry("2027-03-01").is_ok() && expiry("2027-03-01T12:00:00+02:00").is_ok());
        assert!(["", "01.03.2027", "2027-02-30", "in a year"].iter().all(|bad| expiry(bad).is_err()));
    }

    #[test]
    fn bitbucket_is_asked_in_the_clear_on_this_machine_alone() {
        for good in
            ["http://127.0.0.1:8000/2.0", "http://[::1]/", "http://localhost:1", "https://bitbucket.example.com"]
        {
            assert!(bitbucket_url(good).is_ok(), "{good}");
        }
        for bad in [
            "http://api.bitbucket.org/2.0",
            "http://127.0.0.1.example.com/",
            "http://127.0.0.1@example.com/",
            "http://localhost.example.com/",
            "https://user:password@api.bitbucket.org/2.0",
            "https://api.bitbucket.org/2.0?a=b",
            "ftp://127.0.0.1/",
            "api.bitbucket.org/2.0",
            "",
        ] {
            assert!(bitbucket_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_path_of_bitbucket_has_no_slash_at_its_end() {
        let url = bitbucket_url("https://api.bitbucket.org/2.0//").expect("good");
        assert_eq!(url.as_str(), "https://api.bitbucket.org/2.0");
    }

    #[test]
    fn an_allowed_host_equals_the_host_of_an_url() {
        for (flag, url) in [
            ("app.kms.hanzo.ai", "https://APP.kms.hanzo.ai:8443"),
            ("KMS.Example.com", "https://kms.example.com"),
            ("bücher.example", "https://xn--bcher-kva.example"),
            ("10.0.0.7", "https://10.0.0.7"),
            ("fd00::7", "https://[fd00:0::7]:1"),
            ("[fd00::7]", "https://[fd00::7]"),
            ("localhost", "http://localhost:80"),
        ] {
            let url = Url::parse(url).expect("good");
            assert_eq!(Some(kms_host(flag).expect("good")), url.host().map(|host| host.to_owned()), "{flag}");
        }
    }

    #[test]
    fn what_is_more_or_less_than_a_host_is_refused() {
        for bad in ["", " ", "https://kms.example.com", "kms.example.com:443", "*.example.com", "a/b", "u@h", "a..b"] {
            assert!(kms_host(bad).is_err(), "{bad}");
        }
        for bad in ["[fd00::7]:443", "10.0.0.7:443", "a b", "[kms]"] {
            assert!(kms_host(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_of_a_lease_have_bounds() {
        for (good, expected) in [("1s", 1), (" 1m30s ", 90), ("1h", 3_600)] {
            assert_eq!(seconds(good), Ok(Duration::from_secs(expected)), "{good}");
        }
        for bad in ["", "15", "0s", "-1s", "61m", "1.5s", "soon"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
        assert_eq!(object_name(" lease ").as_deref(), Ok("lease"));
        assert!(["", "Lease", "a/b", "../b"].iter().all(|bad| object_name(bad).is_err()));
    }

    #[test]
    fn numbers_have_bounds() {
        assert_eq!(concurrency("256").map(NonZeroU16::get), Ok(256));
        for bad in ["0", "257", "-1", "many", ""] {
            assert!(concurrency(bad).is_err(), "{bad}");
        }
        assert_eq!(limit("0"), Ok(Limit(None)));
        assert_eq!(limit("50"), Ok(Limit(NonZeroU32::new(50))));
        assert!(limit("-1").is_err() && limit("4294967296").is_err());
    }
}
