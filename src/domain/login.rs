//! How an instance logs in to the KMS: by which method, and where its proof comes from.

use std::fmt;

use crate::api::Auth;

/// A method of login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMethod {
    /// Client id and client secret.
    Universal,
    /// An access token, without a login.
    Token,
    /// User name and password of a directory.
    Ldap,
    /// A JWT from a Secret.
    Jwt,
}

impl AuthMethod {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Universal, Self::Token, Self::Ldap, Self::Jwt];

    /// Its field in `spec.auth`.
    pub const fn field(self) -> &'static str {
        match self {
            Self::Universal => "universal",
            Self::Token => "token",
            Self::Ldap => "ldap",
            Self::Jwt => "jwt",
        }
    }

    /// What it proves an identity by.
    pub const fn what(self) -> &'static str {
        match self {
            Self::Universal => "client id and client secret",
            Self::Token => "the access token",
            Self::Ldap => "user name and password",
            Self::Jwt => "the JWT",
        }
    }

    /// What to do when the KMS refuses that.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Universal => {
                "Compare client id and client secret with the machine identity in the KMS, and put them into the Secret. They are not tried again before the Secret changes, or 5 minutes have passed: the KMS locks an identity after three failures."
            }
            Self::Token => {
                "Create a new access token for the machine identity in the KMS, and put it into the Secret. The one that is there is not tried again before the Secret changes, or 5 minutes have passed."
            }
            Self::Ldap => {
                "Compare user name and password in the Secret with the directory, and spec.auth.ldap.identityId with the machine identity in the KMS. They are not tried again before the Secret or the instance changes, or 5 minutes have passed."
            }
            Self::Jwt => {
                "Put a JWT into the Secret that is not past its end and whose issuer, subject and audience the machine identity in the KMS allows, and compare spec.auth.jwt.identityId with that identity. It is not tried again before the Secret or the instance changes, or 5 minutes have passed."
            }
        }
    }
}

/// As the KMS calls it.
impl fmt::Display for AuthMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Universal => "Universal Auth",
            Self::Token => "Token Auth",
            Self::Ldap => "LDAP Auth",
            Self::Jwt => "JWT Auth",
        })
    }
}

/// A login as an instance describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// By which method.
    pub method: AuthMethod,
    /// The identity, where the method doesn't tell it by its proof.
    pub identity_id: Option<String>,
    /// Where the proof comes from.
    pub source: Source,
}

/// Where a proof comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// From a Secret in the instance's namespace.
    Secret {
        /// Its name.
        name: String,
        /// What is read of it.
        values: Vec<SecretValue>,
    },
}

/// A value that is read of a Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretValue {
    /// Its key in the Secret.
    pub key: String,
    /// What people call it.
    pub what: &'static str,
    /// What the body of the login calls it.
    pub field: &'static str,
}

impl Login {
    /// What `spec.auth` says; nothing if it names no method or several, which the schema refuses.
    pub fn of(auth: &Auth) -> Option<Self> {
        let universal = auth.universal.as_ref().map(|method| {
            let reference = &method.secret_ref;
            let values = vec![
                value(reference.client_id_key.as_ref(), "clientId", "clientId", "client id"),
                value(reference.client_secret_key.as_ref(), "clientSecret", "clientSecret", "client secret"),
            ];
            Self::from_secret(AuthMethod::Universal, None, &reference.name, values)
        });
        let token = auth.token.as_ref().map(|method| {
            let reference = &method.secret_ref;
            let values = vec![value(reference.key.as_ref(), "token", "token", "access token")];
            Self::from_secret(AuthMethod::Token, None, &reference.name, values)
        });
        let ldap = auth.ldap.as_ref().map(|method| {
            let reference = &method.secret_ref;
            let values = vec![
                value(reference.username_key.as_ref(), "username", "username", "user name"),
                value(reference.password_key.as_ref(), "password", "password", "password"),
            ];
            Self::from_secret(AuthMethod::Ldap, Some(&method.identity_id), &reference.name, values)
        });
        let jwt = auth.jwt.as_ref().map(|method| {
            let reference = &method.secret_ref;
            let values = vec![value(reference.key.as_ref(), "jwt", "jwt", "JWT")];
            Self::from_secret(AuthMethod::Jwt, Some(&method.identity_id), &reference.name, values)
        });
        let mut methods = [universal, token, ldap, jwt].into_iter().flatten();
        methods.next().filter(|_| methods.next().is_none())
    }

    fn from_secret(method: AuthMethod, identity_id: Option<&String>, name: &str, values: Vec<SecretValue>) -> Self {
        Self { method, identity_id: identity_id.cloned(), source: Source::Secret { name: name.to_owned(), values } }
    }

    /// The Secret that the proof comes from.
    pub fn secret(&self) -> Option<&str> {
        let Source::Secret { name, .. } = &self.source;
        Some(name)
    }
}

fn value(key: Option<&String>, default: &str, field: &'static str, what: &'static str) -> SecretValue {
    SecretValue { key: key.cloned().unwrap_or_else(|| default.to_owned()), what, field }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of(auth: Value) -> Option<Login> {
        Login::of(&serde_json::from_value(auth).expect("an auth"))
    }

    #[test]
    fn each_method_reads_its_keys() {
        let secret = json!({"name": "s"});
        let table: [(&str, Value, &[&str], Option<&str>); 6] = [
            ("universal", json!({"secretRef": secret}), &["clientId", "clientSecret"], None),
            ("universal", json!({"secretRef": {"name": "s", "clientIdKey": "a"}}), &["a", "clientSecret"], None),
            ("token", json!({"secretRef": secret}), &["token"], None),
            ("token", json!({"secretRef": {"name": "s", "key": "a"}}), &["a"], None),
            ("ldap", json!({"identityId": "me", "secretRef": secret}), &["username", "password"], Some("me")),
            ("jwt", json!({"identityId": "me", "secretRef": secret}), &["jwt"], Some("me")),
        ];
        for (field, method, keys, identity) in table {
            let login = of(json!({ field: method })).expect("a method");
            assert_eq!((login.method.field(), login.identity_id.as_deref()), (field, identity));
            assert_eq!(login.secret(), Some("s"));
            let Source::Secret { values, .. } = &login.source;
            assert_eq!(values.iter().map(|value| value.key.as_str()).collect::<Vec<_>>(), keys, "{field}");
        }
    }

    #[test]
    fn no_method_and_two_are_none() {
        let secret = json!({"secretRef": {"name": "s"}});
        assert_eq!(of(json!({})), None);
        assert_eq!(of(json!({"universal": secret, "token": secret})), None);
    }
}
