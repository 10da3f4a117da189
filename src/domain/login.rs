//! How an instance logs in to the KMS: by which method, and where its proof comes from.

use std::fmt;

use crate::api::{Auth, ServiceAccountAuth};

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
    /// A minted token of a ServiceAccount, reviewed by the cluster.
    Kubernetes,
    /// A minted token of a ServiceAccount, checked by the cluster's keys.
    Oidc,
}

impl AuthMethod {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Universal, Self::Token, Self::Ldap, Self::Jwt, Self::Kubernetes, Self::Oidc];

    /// Its field in `spec.auth`.
    pub const fn field(self) -> &'static str {
        match self {
            Self::Universal => "universal",
            Self::Token => "token",
            Self::Ldap => "ldap",
            Self::Jwt => "jwt",
            Self::Kubernetes => "kubernetes",
            Self::Oidc => "oidc",
        }
    }

    /// What it proves an identity by.
    pub const fn what(self) -> &'static str {
        match self {
            Self::Universal => "client id and client secret",
            Self::Token => "the access token",
            Self::Ldap => "user name and password",
            Self::Jwt => "the JWT",
            Self::Kubernetes | Self::Oidc => "the token of the ServiceAccount",
        }
    }

    /// What to do when the KMS refuses that.
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::Universal => {
                "Compare client id and client secret with the machine identity in the KMS, and put them into the Secret that spec.auth.universal names. They are not tried again before the Secret changes, or 5 minutes have passed: the KMS locks an identity after three failures."
            }
            Self::Token => {
                "Create a new access token for the machine identity in the KMS, and put it into the Secret that spec.auth.token names. The one that is there is not tried again before the Secret changes, or 5 minutes have passed."
            }
            Self::Ldap => {
                "Compare user name and password in the Secret that spec.auth.ldap names with the directory, and spec.auth.ldap.identityId with the machine identity in the KMS. They are not tried again before the Secret or the instance changes, or 5 minutes have passed."
            }
            Self::Jwt => {
                "Put a JWT into the Secret that spec.auth.jwt names, one that is not past its end and whose issuer, subject and audience the machine identity in the KMS allows, and compare spec.auth.jwt.identityId with that identity. It is not tried again before the Secret or the instance changes, or 5 minutes have passed."
            }
            Self::Kubernetes => {
                "Compare spec.auth.kubernetes with the machine identity in the KMS: its id, and the audience, the namespace and the name of the ServiceAccount that it allows. It is tried again when the instance changes, and every 5 minutes."
            }
            Self::Oidc => {
                "Compare spec.auth.oidc with the machine identity in the KMS: its id, and the audience, the issuer (this cluster) and the subject (the ServiceAccount) that it allows. It is tried again when the instance changes, and every 5 minutes."
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
            Self::Kubernetes => "Kubernetes Auth",
            Self::Oidc => "OIDC Auth",
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
    /// A token that is minted for a ServiceAccount in the instance's namespace.
    ServiceAccount {
        /// Its name.
        name: String,
        /// What the token is good for.
        audience: String,
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
        let minted = |method: AuthMethod, auth: &ServiceAccountAuth| Self {
            method,
            identity_id: Some(auth.identity_id.clone()),
            source: Source::ServiceAccount {
                name: auth.service_account_ref.name.clone(),
                audience: auth.audience.clone(),
            },
        };
        let kubernetes = auth.kubernetes.as_ref().map(|auth| minted(AuthMethod::Kubernetes, auth));
        let oidc = auth.oidc.as_ref().map(|auth| minted(AuthMethod::Oidc, auth));
        let mut methods = [universal, token, ldap, jwt, kubernetes, oidc].into_iter().flatten();
        methods.next().filter(|_| methods.next().is_none())
    }

    fn from_secret(method: AuthMethod, identity_id: Option<&String>, name: &str, values: Vec<SecretValue>) -> Self {
        Self { method, identity_id: identity_id.cloned(), source: Source::Secret { name: name.to_owned(), values } }
    }

    /// The Secret that the proof comes from.
    pub fn secret(&self) -> Option<&str> {
        match &self.source {
            Source::Secret { name, .. } => Some(name),
            Source::ServiceAccount { .. } => None,
        }
    }
}

/// What to say where the operator may not mint tokens: the commands that let it, for one ServiceAccount and nothing else.
/// `user` is who the operator is, if that is known.
pub fn minting_denied(namespace: &str, service_account: &str, user: Option<&str>) -> String {
    let quotable = |user: &&str| !user.contains(|c: char| c == '\'' || c.is_control());
    let subject = match user.filter(quotable) {
        Some(user) => match user.strip_prefix("system:serviceaccount:") {
            Some(account) => format!("--serviceaccount={account}"),
            None => format!("--user='{user}'"),
        },
        None => "--serviceaccount=<namespace of the operator>:<its ServiceAccount>".to_owned(),
    };
    let role = format!("bitbucket-connection-operator-{service_account}");
    format!(
        "The operator may not mint tokens for ServiceAccount {service_account} in namespace {namespace}. It is tried again by itself once it may, by these commands: kubectl -n {namespace} create role {role} --verb=create --resource=serviceaccounts/token --resource-name={service_account} && kubectl -n {namespace} create rolebinding {role} --role={role} {subject}"
    )
}

/// What to say where the API server mints no token for another reason, by the status of its answer if there was one.
pub fn minting_failed(namespace: &str, service_account: &str, code: Option<u16>) -> String {
    let code = code.map(|code| format!(" (HTTP {code})")).unwrap_or_default();
    format!(
        "The API server mints no token for ServiceAccount {service_account} in namespace {namespace}{code}. It is tried again by itself; if this lasts, see whether the API server takes a TokenRequest of 600 seconds with the audience of the instance."
    )
}

/// What to say where the ServiceAccount isn't there.
pub fn no_service_account(namespace: &str, service_account: &str) -> String {
    format!(
        "There is no ServiceAccount {service_account} in namespace {namespace}. Create it, or name another in serviceAccountRef; it is tried again by itself."
    )
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
            let Source::Secret { values, .. } = &login.source else { panic!("{field}") };
            assert_eq!(values.iter().map(|value| value.key.as_str()).collect::<Vec<_>>(), keys, "{field}");
        }
    }

    #[test]
    fn no_method_and_two_are_none() {
        let secret = json!({"secretRef": {"name": "s"}});
        assert_eq!(of(json!({})), None);
        assert_eq!(of(json!({"universal": secret, "token": secret})), None);
    }

    #[test]
    fn a_minted_token_is_for_a_service_account_and_an_audience() {
        let spec = json!({"identityId": "me", "serviceAccountRef": {"name": "login"}, "audience": "kms"});
        for method in [AuthMethod::Kubernetes, AuthMethod::Oidc] {
            let login = of(json!({ method.field(): spec })).expect("a method");
            let source = Source::ServiceAccount { name: "login".to_owned(), audience: "kms".to_owned() };
            assert_eq!(login, Login { method, identity_id: Some("me".to_owned()), source });
            assert_eq!(login.secret(), None);
        }
    }

    #[test]
    fn the_right_to_mint_is_asked_for_whoever_the_operator_is() {
        for (user, subject) in [
            (Some("system:serviceaccount:kms-system:operator"), "--serviceaccount=kms-system:operator"),
            (Some("me@example.com"), "--user='me@example.com'"),
            (Some("x' && evil"), "--serviceaccount=<namespace of the operator>:<its ServiceAccount>"),
            (None, "--serviceaccount=<namespace of the operator>:<its ServiceAccount>"),
        ] {
            let message = minting_denied("team-a", "login", user);
            assert!(message.ends_with(&format!(" --role=bitbucket-connection-operator-login {subject}")), "{message}");
        }
    }
}
