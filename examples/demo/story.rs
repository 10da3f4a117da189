//! The story: a connection from its first day to its last.

use std::collections::BTreeSet;
use std::time::Instant;

use jiff::{Timestamp, ToSpan as _, tz::TimeZone};
use serde_json::json;
use sim::seed;

use crate::error::Error;
use crate::screen::{Screen, Style};
use crate::stage::Stage;
use crate::standins::{count, mask, table};
use crate::watch::{NAME, Said, Snapshot};

/// Tells the story to its end.
pub async fn tell(screen: &Screen, stage: &Stage) -> Result<(), Error> {
    let mut teller = Teller { screen, stage, told: BTreeSet::new(), last: None };
    teller.observe().await?;
    teller.create().await?;
    teller.rotate().await?;
    teller.refuse().await?;
    teller.diagnose().await?;
    teller.correct().await?;
    teller.warn().await?;
    teller.delete().await
}

struct Teller<'a> {
    screen: &'a Screen,
    stage: &'a Stage,
    /// Names of the events that were shown.
    told: BTreeSet<String>,
    /// What was shown last.
    last: Option<Snapshot>,
}

impl Teller<'_> {
    async fn observe(&mut self) -> Result<(), Error> {
        self.screen.headline(
            1,
            "Two Secrets, a KMS instance and a connection are applied, to be observed",
            "The operator asks Bitbucket whose token it is and what it may do. It writes nothing to the KMS, but says what it \
             would do.",
        );
        let started = Instant::now();
        let (command, output) = self.stage.apply_observing().await?;
        self.screen.command(&command);
        self.screen.output(&output);
        let seen = self
            .until("there is a plan, and nothing in the KMS", |now| {
                now.is("Ready", "False", "ChangesPending") && now.rows.is_empty()
            })
            .await?;
        self.object().await?;
        self.kubectl(&["get", "bbc", NAME, "-o", "jsonpath={.status.plan}"]).await?;
        self.show(seen);
        self.screen.check("planned", started.elapsed());
        Ok(())
    }

    async fn create(&mut self) -> Result<(), Error> {
        self.screen.headline(
            2,
            "The connection is applied without that restriction",
            "What was planned is done: the connection is created in the KMS.",
        );
        let started = Instant::now();
        let (command, output) = self.stage.apply_examples().await?;
        self.screen.command(&command);
        self.screen.output(&output);
        let seen = self.until("the connection becomes Ready", |now| now.is_ready() && holds(now, seed::GOOD)).await?;
        self.object().await?;
        self.show(seen);
        self.screen.check("created and Ready", started.elapsed());
        Ok(())
    }

    async fn rotate(&mut self) -> Result<(), Error> {
        self.screen.headline(
            3,
            "The token is rotated in the Secret",
            "The new token is verified with Bitbucket first; only then does it replace the old one in the KMS.",
        );
        let started = Instant::now();
        self.patch_secret(&json!({"token": seed::NEXT, "expiresAt": in_days(300)})).await?;
        let seen = self
            .until("the new token is in the KMS", |now| {
                now.tells("CredentialsRotated") && holds(now, seed::NEXT) && now.is_ready()
            })
            .await?;
        self.object().await?;
        self.show(seen);
        self.screen.check("rotated", started.elapsed());
        Ok(())
    }

    async fn refuse(&mut self) -> Result<(), Error> {
        self.screen.headline(
            4,
            "Bad tokens are refused",
            "First comes a token that lacks scopes, then one that was revoked. Neither reaches the KMS, where the good \
             one stays.",
        );
        let started = Instant::now();
        self.patch_secret(&json!({"token": seed::FEW_SCOPES, "expiresAt": in_days(310)})).await?;
        let seen = self
            .until("the token without scopes is refused", |now| {
                now.tells("ScopesMissing") && now.is("Ready", "False", "ScopesMissing") && holds(now, seed::NEXT)
            })
            .await?;
        self.object().await?;
        self.show(seen);

        self.patch_secret(&json!({"token": seed::REVOKED, "expiresAt": in_days(320)})).await?;
        let seen = self
            .until("the revoked token is refused", |now| {
                now.tells("CredentialsRejected")
                    && now.is("Ready", "False", "CredentialsRejected")
                    && holds(now, seed::NEXT)
            })
            .await?;
        self.show(seen);

        self.screen.line("");
        self.screen.text("The good token is put back.");
        self.patch_secret(&json!({"token": seed::NEXT, "expiresAt": in_days(300)})).await?;
        let seen = self
            .until("the connection recovers", |now| now.tells("Recovered") && now.is_ready() && holds(now, seed::NEXT))
            .await?;
        self.show(seen);
        self.screen.check("refused twice, repaired", started.elapsed());
        Ok(())
    }

    async fn diagnose(&mut self) -> Result<(), Error> {
        self.screen.headline(
            5,
            "A refused token gets a diagnosis",
            "The Secret gets somebody else's e-mail address. Bitbucket refuses that without a reason; asked once more \
             with the token alone, it says whose the token is.",
        );
        let started = Instant::now();
        self.patch_secret(&json!({"email": "ada@example.com"})).await?;
        let seen = self
            .until("the wrong e-mail is diagnosed", |now| {
                now.tells("CredentialsRejected")
                    && now.is("Ready", "False", "CredentialsRejected")
                    && holds(now, seed::NEXT)
            })
            .await?;
        self.show(seen);

        self.screen.line("");
        self.screen.text("The right address can be checked before anything is changed in the cluster.");
        let (command, output) = self.stage.check(self.screen, seed::EMAIL, "SecretScanning").await?;
        self.screen.command(&command);
        self.screen.output(&output);

        self.screen.line("");
        self.screen.text("So it is put into the Secret.");
        self.patch_secret(&json!({"email": seed::EMAIL})).await?;
        // Not its event as well: transitions are told by the second, and the last Recovered may be of this one.
        let seen = self.until("the connection recovers", |now| now.is_ready() && holds(now, seed::NEXT)).await?;
        self.show(seen);
        self.screen.check("diagnosed, checked, cured", started.elapsed());
        Ok(())
    }

    async fn correct(&mut self) -> Result<(), Error> {
        self.screen.headline(
            6,
            "Somebody edits the connection in the KMS",
            "The operator finds the drift at the next verification, or at once when asked to look, and corrects it.",
        );
        let started = Instant::now();
        let before = self.until("the KMS holds one connection", |now| now.row().is_some()).await?;
        let Some(row) = before.row() else { return Ok(()) };
        let wanted = row.description.clone();
        let mark = wanted.split_once('[').map_or("", |(_, mark)| mark);
        let description = format!("Edited by hand [{mark}");
        let credentials = json!({"email": seed::EMAIL, "apiToken": seed::OTHER});
        let changes = json!({"description": description, "credentials": credentials});
        self.screen.command(&format!(
            "curl -X PATCH -H 'authorization: Bearer …' -H 'content-type: application/json' \\\n\
             {}/api/v1/app-connections/bitbucket/{} \\\n\
             -d '{{\"description\":\"{description}\",\n    \"credentials\":{credentials}}}'",
            self.stage.stand_ins.addresses.kms, row.id
        ));
        self.stage.stand_ins.edit(&row.id, &changes).await?;
        let edited = self.until("the edit is in the KMS", |now| holds(now, seed::OTHER)).await?;
        self.holdings(&edited);

        let request = format!("connections.kms.hanzo.ai/reconcile-requested-at={:.0}", Timestamp::now());
        self.kubectl(&["annotate", "bbc", NAME, "--overwrite", &request]).await?;
        let seen = self
            .until("the drift is corrected", |now| {
                let described = now.row().is_some_and(|row| row.description == wanted);
                now.tells("DriftCorrected") && described && holds(now, seed::NEXT) && now.is_ready()
            })
            .await?;
        self.show(seen);
        self.screen.check("corrected", started.elapsed());
        Ok(())
    }

    async fn warn(&mut self) -> Result<(), Error> {
        self.screen.headline(
            7,
            "The token nears its end",
            "Its Secret says that it expires in two days. It still works, so the connection stays Ready; people are told.",
        );
        let started = Instant::now();
        self.patch_secret(&json!({"expiresAt": in_days(2)})).await?;
        let seen = self
            .until("a warning about the expiry", |now| {
                now.tells("TokenExpiring") && now.is("ExpiringSoon", "True", "WarningWindow")
            })
            .await?;
        self.object().await?;
        self.show(seen);
        self.screen.check("warned", started.elapsed());
        Ok(())
    }

    async fn delete(&mut self) -> Result<(), Error> {
        self.screen.headline(
            8,
            "The connection is deleted",
            "A finalizer holds the object until its connection is gone from the KMS.",
        );
        let started = Instant::now();
        self.kubectl(&["delete", "bbc", NAME, "--timeout=60s"]).await?;
        let seen = self.until("it is gone from the KMS", |now| !now.exists() && now.rows.is_empty()).await?;
        self.object().await?;
        self.show(seen);
        self.screen.check("deleted", started.elapsed());
        Ok(())
    }

    /// Runs kubectl before the reader's eyes.
    async fn kubectl(&self, arguments: &[&str]) -> Result<(), Error> {
        self.screen.typed("kubectl", arguments);
        let output = self.stage.kubectl(arguments).await?;
        self.screen.output(&output);
        Ok(())
    }

    async fn patch_secret(&self, values: &serde_json::Value) -> Result<(), Error> {
        let patch = json!({"stringData": values}).to_string();
        self.kubectl(&["patch", "secret", "bitbucket-token", "-p", &patch]).await
    }

    /// The object as a line.
    async fn object(&self) -> Result<(), Error> {
        self.kubectl(&["get", "bbc"]).await
    }

    async fn until(&self, what: &str, wanted: impl Fn(&Snapshot) -> bool) -> Result<Snapshot, Error> {
        Snapshot::until(self.stage, &self.told, what, wanted).await
    }

    /// What changed in the eyes of a user: conditions, events, and what the KMS holds.
    fn show(&mut self, seen: Snapshot) {
        let mut said = Said::default();
        if let Some(conditions) = seen.changed(self.last.as_ref(), &mut said) {
            self.screen.typed("kubectl", &["describe", "bbc", NAME]);
            self.screen.table(&conditions);
        }
        if let Some(events) = seen.news(&mut said) {
            self.screen.typed("kubectl", &["events", "--for", &format!("bbc/{NAME}")]);
            self.screen.table(&events);
        }
        self.holdings(&seen);
        self.told.extend(seen.names());
        self.last = Some(seen);
    }

    fn holdings(&self, seen: &Snapshot) {
        self.screen.line("");
        self.screen.styled(&format!("   The KMS holds {}", count(&seen.rows)), Style::Plain);
        if !seen.rows.is_empty() {
            self.screen.table(&table(&seen.rows));
        }
    }
}

/// Whether the KMS holds one connection, with this token.
fn holds(now: &Snapshot, token: &str) -> bool {
    now.row().is_some_and(|row| row.token == mask(token))
}

/// A date, as Secrets have it.
fn in_days(days: i64) -> String {
    let now = Timestamp::now().to_zoned(TimeZone::UTC);
    now.checked_add(days.days()).unwrap_or(now).date().to_string()
}
