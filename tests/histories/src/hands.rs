//! What people do, carried out: in a cluster, whichever it is, and at both stand-ins.

use std::time::Duration;

use serde_json::{Value, json};
use sim::{Bitbucket, Connection, Fault, Kms, Match, State, Token};

use crate::{
    cast::{Cast, FORBIDDEN_HOST, IDENTITY, Instance, Place, Purse, Slot, Team, WORKSPACE},
    facts::is_deleting,
    ledger::Ledger,
    model::is_marked,
    step::{
        Action, Deed, Deletion, Drift, Edit, Expiry, Foreign, Grants, InstanceEdit, Interval, Management, Outage, Wish,
    },
    token::{ADDITIONAL, Issued, Kind as TokenKind},
};

/// Kinds of objects that histories are about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Namespace.
    Namespace,
    /// Secret.
    Secret,
    /// BitbucketConnection.
    Connection,
    /// KmsInstance.
    KmsInstance,
    /// ClusterKmsInstance.
    ClusterKmsInstance,
}

/// A cluster, as people see it. What it refuses has no effect.
pub trait Cluster {
    /// An object as it is; the namespace is empty for those without.
    fn get(&self, kind: Kind, namespace: &str, name: &str) -> impl Future<Output = Option<Value>>;
    /// Creates an object; its name is in the manifest.
    fn create(&self, kind: Kind, namespace: &str, manifest: Value) -> impl Future<Output = ()>;
    /// Changes an object by a merge patch.
    fn merge(&self, kind: Kind, namespace: &str, name: &str, patch: Value) -> impl Future<Output = ()>;
    /// Deletes an object.
    fn delete(&self, kind: Kind, namespace: &str, name: &str) -> impl Future<Output = ()>;
}

/// People with all rights.
pub struct Hands<'a, C> {
    /// The cluster.
    pub cluster: &'a C,
    /// The stand-in.
    pub kms: &'a Kms,
    /// The stand-in.
    pub bitbucket: &'a Bitbucket,
    /// Names.
    pub cast: &'a Cast,
}

impl<C: Cluster> Hands<'_, C> {
    /// Puts everything there that histories begin with, but no connection.
    pub async fn prepare(&self, ledger: &mut Ledger) {
        for project in &self.cast.projects {
            self.kms.add_project(project);
        }
        for instance in [Instance::Shared, Instance::Own(Team::A), Instance::Own(Team::B)] {
            self.kms.add_identity(&self.cast.client_id(instance), &self.cast.client_secret(instance));
        }
        self.namespace(&self.cast.home).await;
        self.heal();
        self.allow();
        for team in Team::ALL {
            let purse = Purse { team, spare: false };
            self.issue(purse, TokenKind::Good, Expiry::Far, ledger).await;
            self.instance(Instance::Own(team), InstanceEdit::Good).await;
        }
        self.instance(Instance::Shared, InstanceEdit::Good).await;
    }

    /// Does something. `now` is how long the history lasts.
    pub async fn carry_out(&self, deed: &Deed, ledger: &mut Ledger, now: Duration) {
        match deed {
            Deed::Connect(slot, wish) => {
                ledger.changed = now;
                self.connect(*slot, *wish).await;
            }
            Deed::Edit(slot, edit) => {
                ledger.changed = now;
                self.edit(*slot, edit_of(*edit)).await;
            }
            Deed::Delete(slot) => {
                ledger.changed = now;
                self.cluster.delete(Kind::Connection, &self.cast.namespace(slot.team()), slot.name()).await;
            }
            Deed::Request(slot) => {
                let asked = now.as_nanos().to_string();
                let name = "connections.kms.hanzo.ai/reconcile-requested-at";
                self.edit(*slot, json!({"metadata": {"annotations": {name: asked}}})).await;
            }
            Deed::Issue(purse, kind, expiry) => self.issue(*purse, *kind, *expiry, ledger).await,
            Deed::RollBack(purse) => {
                if let Some(issued) = ledger.roll_back(*purse) {
                    self.put_token(*purse, &issued, Expiry::Far).await;
                }
            }
            Deed::Label(purse) => {
                let label = json!({"metadata": {"labels": {"looked-at": now.as_secs().to_string()}}});
                self.merge_secret(*purse, label).await;
            }
            Deed::LoseKey(purse) => self.merge_secret(*purse, json!({"data": {"token": null}})).await,
            Deed::DropSecret(purse) => {
                self.cluster.delete(Kind::Secret, &self.cast.namespace(purse.team), purse.name()).await;
            }
            Deed::Revoke(purse) => self.revoke(*purse, true, ledger),
            Deed::Reinstate(purse) => self.revoke(*purse, false, ledger),
            Deed::Drift(slot, drift) => self.drift(*slot, *drift, ledger, now),
            Deed::Foreign(name, place, foreign) => self.foreign(name.as_str(), *place, *foreign, ledger),
            Deed::NoForeign(name, place) => {
                let project = self.cast.project(*place);
                let is_meant = |row: &Connection| row.name == name.as_str() && row.project_id.as_deref() == project;
                let gone: Vec<_> = self.kms.connections().into_iter().filter(is_meant).map(|row| row.id).collect();
                for id in gone {
                    if ledger.foreign.remove(&id).is_some() {
                        self.kms.remove(&id);
                    }
                }
            }
            Deed::Deny(action) => self.kms.deny(action.as_str()),
            Deed::Allow => self.allow(),
            Deed::Instance(instance, edit) => {
                ledger.changed = now;
                self.instance(*instance, *edit).await;
            }
            Deed::DropNamespace(team) => {
                ledger.changed = now;
                self.cluster.delete(Kind::Namespace, "", &self.cast.namespace(*team)).await;
            }
            Deed::BitbucketFails(outage) => self.bitbucket.fail(fault(*outage)),
            Deed::KmsFails(outage) => self.kms.fail(fault(*outage)),
            Deed::AnswersLost(count) => self.kms.fail_when(Match::writes().times(*count), Fault::LoseAnswer),
            Deed::Heal => self.heal(),
        }
    }

    /// Both services are well, and nobody is locked out.
    pub fn heal(&self) {
        self.kms.heal();
        for instance in [Instance::Shared, Instance::Own(Team::A), Instance::Own(Team::B)] {
            self.kms.unlock_identity(&self.cast.client_id(instance));
        }
        self.bitbucket.heal();
    }

    /// The KMS permits everything.
    pub fn allow(&self) {
        Action::ALL.iter().for_each(|action| self.kms.allow(action.as_str()));
    }

    /// Whether something can be made in a namespace, which is made if there is none.
    async fn namespace(&self, name: &str) -> bool {
        match self.cluster.get(Kind::Namespace, "", name).await {
            Some(found) => !is_deleting(&found),
            None => {
                self.cluster.create(Kind::Namespace, "", json!({"metadata": {"name": name}})).await;
                true
            }
        }
    }

    async fn put(&self, kind: Kind, namespace: &str, name: &str, mut manifest: Value) {
        if !namespace.is_empty() && !self.namespace(namespace).await {
            return;
        }
        if self.cluster.get(kind, namespace, name).await.is_some() {
            self.cluster.merge(kind, namespace, name, manifest).await;
        } else {
            manifest["metadata"]["name"] = json!(name);
            without_nulls(&mut manifest);
            self.cluster.create(kind, namespace, manifest).await;
        }
    }

    async fn connect(&self, slot: Slot, wish: Wish) {
        let namespace = self.cast.namespace(slot.team());
        if self.cluster.get(Kind::Connection, &namespace, slot.name()).await.is_some() {
            return;
        }
        let purse = Purse { team: slot.team(), spare: wish.spare };
        let project = self.cast.project(wish.place);
        let manifest = json!({"spec": {
            "kmsRef": wish.own_instance.then(|| json!({"name": "own"})),
            "projectId": project,
            "organizationScope": project.is_none().then_some(true),
            "connectionName": wish.name.map(crate::step::Name::as_str),
            "secretRef": {"name": purse.name()},
            "scopes": {"useCases": ["SecretScanning"]},
            "adoptionPolicy": wish.adopt.then_some("Adopt"),
        }});
        self.put(Kind::Connection, &namespace, slot.name(), manifest).await;
    }

    async fn edit(&self, slot: Slot, patch: Value) {
        let namespace = self.cast.namespace(slot.team());
        if self.cluster.get(Kind::Connection, &namespace, slot.name()).await.is_some() {
            self.cluster.merge(Kind::Connection, &namespace, slot.name(), patch).await;
        }
    }

    async fn merge_secret(&self, purse: Purse, patch: Value) {
        let namespace = self.cast.namespace(purse.team);
        if self.cluster.get(Kind::Secret, &namespace, purse.name()).await.is_some() {
            self.cluster.merge(Kind::Secret, &namespace, purse.name(), patch).await;
        }
    }

    async fn issue(&self, purse: Purse, kind: TokenKind, expiry: Expiry, ledger: &mut Ledger) {
        let issued = ledger.issue(purse, kind, &self.cast.namespace(purse.team));
        if !issued.text.is_empty() {
            let owner = match kind {
                TokenKind::Stolen => "victim@example.com",
                TokenKind::UserName => "bot@example.com",
                _ => &issued.email,
            };
            let reached = [WORKSPACE].into_iter().filter(|_| kind != TokenKind::Alone);
            let token = Token::new(owner, &issued.text).scopes(kind.scopes()).workspaces(reached);
            self.bitbucket.add(token.hide_scopes(kind == TokenKind::Mute).state(state(&issued)));
        }
        self.put_token(purse, &issued, expiry).await;
    }

    async fn put_token(&self, purse: Purse, issued: &Issued, expiry: Expiry) {
        let expires = match expiry {
            Expiry::Unsaid => None,
            Expiry::Far => Some("2026-12-24"),
            Expiry::Gibberish => Some("when it ends"),
        };
        let data = json!({"data": {
            "email": encoded(&issued.email), "token": encoded(&issued.text), "expiresAt": expires.map(encoded),
        }});
        self.put(Kind::Secret, &self.cast.namespace(purse.team), purse.name(), data).await;
    }

    fn revoke(&self, purse: Purse, revoked: bool, ledger: &mut Ledger) {
        let Some(issued) = ledger.held_last(purse).filter(|issued| !issued.text.is_empty()) else { return };
        issued.revoked = revoked;
        self.bitbucket.set(&issued.text, state(issued));
    }

    fn drift(&self, slot: Slot, drift: Drift, ledger: &mut Ledger, now: Duration) {
        let rows = self.kms.connections();
        let Some(row) = rows.iter().find(|row| is_marked(row, slot, self.cast)) else { return };
        match drift {
            Drift::Renamed => {
                let name = format!("renamed-{}", &row.id[..8]);
                self.kms.edit(&row.id, |row| row.name = name);
            }
            Drift::Described => {
                let mark = row.description.as_deref().and_then(|text| text.rfind('[').map(|at| text[at..].to_owned()));
                self.kms.edit(&row.id, |row| row.description = Some(format!("by hand {}", mark.unwrap_or_default())));
            }
            Drift::Stripped => {
                self.kms.edit(&row.id, |row| row.description = Some("by hand".to_owned()));
                ledger.stripped.insert(row.id.clone(), now);
                let stripped = self.kms.connections().into_iter().find(|it| it.id == row.id);
                ledger.foreign.extend(stripped.map(|row| (row.id.clone(), row)));
            }
            Drift::Credentials => {
                self.kms.edit(&row.id, |row| row.write_credentials("someone@example.com", "somebody-else's"));
            }
            Drift::Deleted => drop(self.kms.remove(&row.id)),
        }
    }

    fn foreign(&self, name: &str, place: Place, foreign: Foreign, ledger: &mut Ledger) {
        let project = self.cast.project(place);
        let taken = |row: &Connection| row.name == name && row.project_id.as_deref() == project;
        if self.kms.connections().iter().any(taken) {
            return;
        }
        let row = project.iter().fold(Connection::new(name), |row, project| row.project(project));
        let row = match foreign {
            Foreign::Plain => row.description("theirs"),
            Foreign::Long => row.description(&"theirs ".repeat(35)),
            Foreign::OtherApp => row.app("github"),
            Foreign::Marked => row.description("theirs [k8s:0123456789abcdef:c]"),
        };
        let id = self.kms.insert(row);
        let stored = self.kms.connections().into_iter().find(|row| row.id == id);
        ledger.foreign.extend(stored.map(|row| (id, row)));
    }

    async fn instance(&self, instance: Instance, edit: InstanceEdit) {
        let home = self.cast.instance_home(instance);
        let (kind, namespace, name) = match instance {
            Instance::Shared => (Kind::ClusterKmsInstance, "", "default"),
            Instance::Own(_) => (Kind::KmsInstance, &*home, "own"),
        };
        let secret = |client_secret: &str| {
            json!({"data": {
                "clientId": encoded(&self.cast.client_id(instance)), "clientSecret": encoded(client_secret),
            }})
        };
        let spec = |host: &str, grants: Grants| {
            let mut spec = json!({"host": host, "auth": {"universal": {"secretRef": {"name": IDENTITY}}}});
            if instance == Instance::Shared {
                spec["namespace"] = json!(home);
                spec["grants"] = self.grants(grants);
            }
            json!({"spec": spec})
        };
        match edit {
            InstanceEdit::Good => {
                self.put(Kind::Secret, &home, IDENTITY, secret(&self.cast.client_secret(instance))).await;
                self.put(kind, namespace, name, spec(&self.cast.host, Grants::All)).await;
            }
            InstanceEdit::NoSecret => self.cluster.delete(Kind::Secret, &home, IDENTITY).await,
            InstanceEdit::WrongSecret => self.put(Kind::Secret, &home, IDENTITY, secret("wrong")).await,
            InstanceEdit::ForbiddenHost => self.put(kind, namespace, name, spec(FORBIDDEN_HOST, Grants::All)).await,
            InstanceEdit::Deleted => self.cluster.delete(kind, namespace, name).await,
            InstanceEdit::Grants(grants) => {
                if instance == Instance::Shared {
                    self.put(kind, namespace, name, spec(&self.cast.host, grants)).await;
                }
            }
        }
    }

    fn grants(&self, grants: Grants) -> Value {
        match grants {
            Grants::All => {
                json!([{"namespaceSelector": {}, "projectIds": ["*"], "organizationScope": true, "adoption": true}])
            }
            Grants::OnlyA => {
                let a = json!({"matchLabels": {"kubernetes.io/metadata.name": self.cast.namespace(Team::A)}});
                json!([{"namespaceSelector": a, "projectIds": ["*"], "organizationScope": true, "adoption": true}])
            }
            Grants::OnlyProjectOne => {
                json!([{"namespaceSelector": {}, "projectIds": [self.cast.projects[0]], "adoption": true}])
            }
            Grants::NoAdoption => json!([{"namespaceSelector": {}, "projectIds": ["*"], "organizationScope": true}]),
            Grants::Nothing => json!([]),
        }
    }
}

fn edit_of(edit: Edit) -> Value {
    let spec = match edit {
        Edit::Name(name) => json!({"connectionName": name.map(crate::step::Name::as_str)}),
        Edit::Description(text) => json!({"description": text.map(crate::step::Text::text)}),
        Edit::Spare(spare) => json!({"secretRef": {"name": Purse { team: Team::A, spare }.name()}}),
        Edit::WrongKey(wrong) => json!({"secretRef": {"tokenKey": wrong.then_some("apiToken")}}),
        Edit::Additional(wanted) => json!({"scopes": {"additional": wanted.then(|| json!([ADDITIONAL]))}}),
        Edit::Workspace(wanted) => json!({"workspaces": wanted.then(|| json!([WORKSPACE]))}),
        Edit::WarnMissing(warn) => json!({"scopes": {"onMissing": warn.then_some("Warn")}}),
        Edit::BlockExcess(block) => json!({"scopes": {"onExcess": block.then_some("Block")}}),
        Edit::Adopt(adopt) => json!({"adoptionPolicy": adopt.then_some("Adopt")}),
        Edit::Deletion(policy) => json!({"deletionPolicy": policy.map(|policy| match policy {
            Deletion::Delete => "Delete",
            Deletion::Retain => "Retain",
        })}),
        Edit::Management(policy) => json!({"managementPolicy": match policy {
            Management::Full => "Full",
            Management::Observe => "Observe",
            Management::Suspended => "Suspended",
        }}),
        Edit::Interval(interval) => json!({"interval": match interval {
            Interval::Short => "5m",
            Interval::Usual => "1h",
        }}),
        Edit::Contact => json!({"contact": "#team-a", "expiry": {"notAfter": "2026-12-01", "warnBefore": ["7d"]}}),
    };
    json!({"spec": spec})
}

fn state(issued: &Issued) -> State {
    match issued.kind {
        _ if issued.revoked => State::Revoked,
        TokenKind::Blocked => State::IpBlocked,
        _ => State::Good,
    }
}

fn fault(outage: Outage) -> Fault {
    match outage {
        Outage::Down => Fault::status(503),
        Outage::Hang => Fault::Hang,
        Outage::RateLimited(retry_after) => Fault::RateLimited { retry_after },
        Outage::Broken => Fault::status(500),
        Outage::Reset => Fault::Reset,
        Outage::Html => Fault::Html,
    }
}

fn encoded(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

/// What is null isn't there.
fn without_nulls(value: &mut Value) {
    if let Value::Object(fields) = value {
        fields.retain(|_, field| !field.is_null());
        fields.values_mut().for_each(without_nulls);
    }
}
