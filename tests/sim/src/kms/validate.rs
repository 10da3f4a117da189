//! What the KMS accepts in the bodies of POST and PATCH.

use serde_json::Value;

use super::errors::Findings;
use crate::front::Answer;

/// The body of a POST. What isn't named here is dropped without a word.
pub(super) struct Create {
    pub(super) name: String,
    pub(super) description: Option<String>,
    pub(super) project_id: Option<String>,
    pub(super) credentials: Credentials,
}

/// The body of a PATCH. What isn't named here is dropped without a word: `app`, `method` and `projectId` too.
pub(super) struct Update {
    pub(super) name: Option<String>,
    /// Given, and then a text or null.
    pub(super) description: Option<Option<String>>,
    pub(super) credentials: Option<Credentials>,
}

/// What the KMS stores and shows to Bitbucket.
#[derive(Clone)]
pub(super) struct Credentials {
    pub(super) email: String,
    pub(super) token: String,
}

pub(super) fn create(body: &Value, longest_name: usize) -> Result<Create, Answer> {
    let mut findings = Findings::default();
    if !body.is_object() {
        findings.add("invalid_type", &[], "Expected object");
    }
    let name = name(body.get("name").unwrap_or(&Value::Null), longest_name, &mut findings);
    if body.get("method").and_then(Value::as_str) != Some("api-token") {
        findings.add("invalid_literal", &["method"], "Invalid literal value, expected \"api-token\"");
    }
    let credentials = credentials(body.get("credentials").unwrap_or(&Value::Null), &mut findings);
    let description = body.get("description").and_then(|text| description(text, &mut findings));
    let project_id = match body.get("projectId") {
        None => None,
        Some(Value::String(id)) => Some(id.clone()),
        Some(_) => {
            findings.add("invalid_type", &["projectId"], "Expected string");
            None
        }
    };
    findings.check()?;
    Ok(Create { name, description, project_id, credentials })
}

pub(super) fn update(body: &Value, longest_name: usize) -> Result<Update, Answer> {
    let mut findings = Findings::default();
    if !body.is_object() {
        findings.add("invalid_type", &[], "Expected object");
    }
    let update = Update {
        name: body.get("name").map(|value| name(value, longest_name, &mut findings)),
        description: body.get("description").map(|text| description(text, &mut findings)),
        credentials: body.get("credentials").map(|value| credentials(value, &mut findings)),
    };
    findings.check()?;
    Ok(update)
}

fn text(value: &Value, path: &[&str], findings: &mut Findings) -> Option<String> {
    let text = value.as_str().map(str::to_owned);
    if text.is_none() {
        let message = if value.is_null() { "Required" } else { "Expected string" };
        findings.add("invalid_type", path, message);
    }
    text
}

fn name(value: &Value, longest: usize, findings: &mut Findings) -> String {
    let Some(name) = text(value, &["name"], findings) else {
        return String::new();
    };
    let slug = name
        .split('-')
        .all(|part| !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit()));
    if !slug {
        findings.add("custom", &["name"], "name field can only contain letters, numbers, and hyphens");
    }
    if name.len() > longest {
        let message = format!("name field must be at most {longest} characters");
        findings.add("too_big", &["name"], &message);
    }
    name
}

/// The server is JavaScript: lengths count UTF-16 units, here as below.
fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

/// Without white space at the ends, as JavaScript sees it: the byte order mark is some, the next line (U+0085) isn't.
fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| c == '\u{feff}' || (c.is_whitespace() && c != '\u{85}'))
}

fn description(value: &Value, findings: &mut Findings) -> Option<String> {
    if value.is_null() {
        return None;
    }
    let trimmed = trim(&text(value, &["description"], findings)?).to_owned();
    if units(&trimmed) > 256 {
        findings.add("too_big", &["description"], "Description cannot exceed 256 characters");
    }
    Some(trimmed)
}

fn credentials(value: &Value, findings: &mut Findings) -> Credentials {
    if !value.is_object() {
        findings.add("invalid_type", &["credentials"], "Required");
        return Credentials { email: String::new(), token: String::new() };
    }
    // The e-mail is checked as it came: white space around it makes it invalid.
    let path = ["credentials", "email"];
    let email = text(&value["email"], &path, findings).unwrap_or_default();
    if !is_email(&email) {
        findings.add("invalid_string", &path, "Invalid email");
    }
    if units(&email) > 255 {
        findings.add("too_big", &path, "Email must be at most 255 characters long");
    }
    // The token is checked after trimming.
    let path = ["credentials", "apiToken"];
    let token = trim(&text(&value["apiToken"], &path, findings).unwrap_or_default()).to_owned();
    if token.is_empty() {
        findings.add("too_small", &path, "API Token required");
    }
    if units(&token) > 255 {
        findings.add("too_big", &path, "API Token must be at most 255 characters long");
    }
    Credentials { email, token }
}

fn is_email(text: &str) -> bool {
    let allowed =
        |extra: &'static str| move |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-' || extra.contains(c);
    text.split_once('@').is_some_and(|(local, domain)| {
        let dots = |part: &str| !part.starts_with('.') && !part.ends_with('.') && !part.contains("..");
        !local.is_empty()
            && local.chars().all(allowed("_'+"))
            && domain.chars().all(allowed(""))
            && dots(local)
            && dots(domain)
            && domain.rsplit_once('.').is_some_and(|(rest, top)| !rest.is_empty() && top.len() >= 2)
    })
}
