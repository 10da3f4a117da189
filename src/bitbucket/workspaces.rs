//! Which workspaces a token reaches: `GET /user/workspaces`, page by page.

use reqwest::Method;
use serde_json::Value;

use super::{Bitbucket, judge::NO_JSON};
use crate::{
    domain::{
        credential::Credentials,
        limit::Priority,
        names,
        verdict::{NoVerdict, Reach},
    },
    http::{self, Answer, BODY_MAX},
};

/// Workspaces on a page, the most that Bitbucket gives.
const PAGE_LEN: u32 = 100;
/// Most pages that are read.
const PAGES_MAX: u32 = 50;

impl Bitbucket {
    /// Asks which workspaces the account reaches with this token. One that reaches none gets an empty list.
    pub async fn workspaces(&self, credentials: &Credentials, priority: Priority) -> Reach {
        let gate = self.accounts.of(credentials);
        let token = credentials.token.expose();
        let mut reached = std::collections::BTreeSet::new();
        // Pages are counted: an address that the server names would get the token sent there.
        for number in 1..=PAGES_MAX {
            if let Err(not_yet) = self.turn(credentials, "workspaces", priority).await {
                return Reach::Unknown(not_yet.into());
            }
            let query = [("pagelen", PAGE_LEN), ("page", number)];
            let request = self.http.request(Method::GET, self.workspaces.clone()).query(&query);
            let request = request.basic_auth(credentials.email.as_str(), Some(token));
            let page = match self.http.send(request, BODY_MAX, "get_user_workspaces", &self.observe).await {
                Ok(answer) => {
                    gate.heard(answer.status, &answer.headers);
                    page(&answer, token)
                }
                Err(failure) => Err(NoVerdict::Unavailable(failure.to_string())),
            };
            match page {
                Ok(page) => {
                    reached.extend(page.slugs);
                    if page.last {
                        return Reach::Known(reached);
                    }
                }
                Err(why) => return Reach::Unknown(why),
            }
        }
        Reach::Unknown(NoVerdict::Unavailable("a list that is too long".to_owned()))
    }
}

/// A page of workspaces.
pub(super) struct Page {
    pub slugs: Vec<String>,
    pub last: bool,
}

/// Reads a page.
pub(super) fn page(answer: &Answer, token: &str) -> Result<Page, NoVerdict> {
    let unavailable = |what: &str| NoVerdict::Unavailable(what.to_owned());
    match answer.status {
        200 => {}
        403 => return Err(NoVerdict::Forbidden),
        429 => return Err(NoVerdict::RateLimited { retry_after: http::retry_after(&answer.headers) }),
        other => return Err(unavailable(&format!("HTTP {other}"))),
    }
    let json: Value = answer.body.parse().map_err(|_| unavailable(NO_JSON))?;
    let values = json.get("values").and_then(Value::as_array);
    let values = values.ok_or_else(|| unavailable("an answer that lists no workspaces"))?;
    let slug = |value: &Value| {
        let slug = value.get("workspace")?.get("slug")?.as_str()?.trim();
        (names::is_workspace_slug(slug) && http::mask(slug, &[token]) == slug).then(|| slug.to_owned())
    };
    let slugs = values.iter().filter_map(slug).collect();
    Ok(Page { slugs, last: values.is_empty() || json.get("next").and_then(Value::as_str).is_none() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Body;

    fn read(status: u16, body: &str) -> Result<(Vec<String>, bool), NoVerdict> {
        let body = Body::Json(body.as_bytes().to_vec());
        let headers = ::http::HeaderMap::new();
        page(&Answer { status, headers, body }, "s3cr3t-token").map(|page| (page.slugs, page.last))
    }

    #[test]
    fn a_page_is_read_whatever_else_it_holds() {
        let slugs = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let unavailable = |what: &str| Err(NoVerdict::Unavailable(what.to_owned()));
        let table = [
            (200, r#"{"values": []}"#, Ok((slugs(&[]), true))),
            (200, r#"{"values": [], "next": "https://evil.example.com"}"#, Ok((slugs(&[]), true))),
            (200, r#"{"values": [{"workspace": {"slug": "a"}}], "next": "x"}"#, Ok((slugs(&["a"]), false))),
            (
                200,
                r#"{"values": [7, {"workspace": null}, {"workspace": {"slug": "s3cr3t-token"}}, {"workspace": {"slug": "b"}}]}"#,
                Ok((slugs(&["b"]), true)),
            ),
            (200, "{}", unavailable("an answer that lists no workspaces")),
            (200, "<html>", unavailable("an answer that is no JSON")),
            (401, "{}", unavailable("HTTP 401")),
            (410, "{}", unavailable("HTTP 410")),
            (403, "{}", Err(NoVerdict::Forbidden)),
            (429, "{}", Err(NoVerdict::RateLimited { retry_after: None })),
        ];
        for (status, body, expected) in table {
            assert_eq!(read(status, body), expected, "{status} {body}");
        }
    }
}
