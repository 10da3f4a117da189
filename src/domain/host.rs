//! Which hosts may be a KMS: whoever can create an instance must not be able to send Secrets anywhere.

use url::{Host, Url};

/// The KMS of instances that name none.
pub const DEFAULT_HOST: &str = "https://app.kms.hanzo.ai";

/// The hosts that the operator may talk to, from `--allowed-kms-hosts` and `--allow-insecure-kms`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AllowedHosts {
    /// Names and addresses; ports don't matter.
    pub names: Vec<Host>,
    /// Whether plain http may be used.
    pub insecure: bool,
}

/// Why a host is not talked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostProblem {
    /// No URL, or one with a path, a query or a user.
    NotAHost,
    /// Its name isn't in `--allowed-kms-hosts`.
    NotAllowed,
    /// Plain http without `--allow-insecure-kms`.
    Insecure,
}

/// The address of a KMS, if it may be talked to.
pub fn check(host: Option<&str>, allowed: &AllowedHosts) -> Result<Url, HostProblem> {
    let url = Url::parse(host.unwrap_or(DEFAULT_HOST)).map_err(|_| HostProblem::NotAHost)?;
    let plain = matches!(url.path(), "" | "/")
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    let name = url.host().ok_or(HostProblem::NotAHost)?.to_owned();
    match url.scheme() {
        _ if !plain => Err(HostProblem::NotAHost),
        "https" | "http" if !allowed.names.contains(&name) => Err(HostProblem::NotAllowed),
        "http" if !allowed.insecure => Err(HostProblem::Insecure),
        "https" | "http" => Ok(url),
        _ => Err(HostProblem::NotAHost),
    }
}

/// How a host is shown and compared: without a trailing slash.
pub fn display(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_named_hosts_are_talked_to() {
        let names = ["app.kms.hanzo.ai", "127.0.0.1", "[::1]"].map(|name| Host::parse(name).expect("a host")).to_vec();
        let (secure, insecure) =
            (AllowedHosts { names: names.clone(), insecure: false }, AllowedHosts { names, insecure: true });
        let table = [
            (None, &secure, Ok("https://app.kms.hanzo.ai")),
            (Some("https://APP.kms.hanzo.ai:8443/"), &secure, Ok("https://app.kms.hanzo.ai:8443")),
            (Some("https://evil.example.com"), &secure, Err(HostProblem::NotAllowed)),
            (Some("https://app.kms.hanzo.ai.evil.example.com"), &secure, Err(HostProblem::NotAllowed)),
            (Some("https://app.kms.hanzo.ai@evil.example.com"), &secure, Err(HostProblem::NotAHost)),
            (Some("http://127.0.0.1:8080"), &secure, Err(HostProblem::Insecure)),
            (Some("http://127.0.0.1:8080"), &insecure, Ok("http://127.0.0.1:8080")),
            (Some("http://[::1]:8080"), &insecure, Ok("http://[::1]:8080")),
            (Some("http://127.1:8080"), &insecure, Ok("http://127.0.0.1:8080")),
            (Some("http://0x7f000002"), &insecure, Err(HostProblem::NotAllowed)),
            (Some("https://app.kms.hanzo.ai/api"), &secure, Err(HostProblem::NotAHost)),
            (Some("https://app.kms.hanzo.ai?x=1"), &secure, Err(HostProblem::NotAHost)),
            // A name with a dot at its end can be another one, by the search list of the resolver.
            (Some("https://app.kms.hanzo.ai."), &secure, Err(HostProblem::NotAllowed)),
            (Some("https://app.kms.hanzo.ai%2eevil.example.com"), &secure, Err(HostProblem::NotAllowed)),
            (Some("https://evil.example.com\\@app.kms.hanzo.ai"), &secure, Err(HostProblem::NotAHost)),
            (Some("https://app.kms.hanzo.ai\\evil"), &secure, Err(HostProblem::NotAHost)),
            (Some("https://app.kms.hanzo.ai:443@evil.example.com"), &secure, Err(HostProblem::NotAHost)),
            (Some("https://app.kms.hanzo.ai#@evil.example.com"), &secure, Err(HostProblem::NotAHost)),
            // Parsed as it is sent: full width letters are the letters.
            (Some("https://ａpp.kms.hanzo.ai"), &secure, Ok("https://app.kms.hanzo.ai")),
            (Some("https://аpp.kms.hanzo.ai"), &secure, Err(HostProblem::NotAllowed)),
            (Some("http://[::ffff:127.0.0.1]:8080"), &insecure, Err(HostProblem::NotAllowed)),
            (Some("ftp://app.kms.hanzo.ai"), &secure, Err(HostProblem::NotAHost)),
            (Some("app.kms.hanzo.ai"), &secure, Err(HostProblem::NotAHost)),
        ];
        for (host, allowed, expected) in table {
            assert_eq!(check(host, allowed).map(|url| display(&url)), expected.map(str::to_owned), "{host:?}");
        }
    }
}
