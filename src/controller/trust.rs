//! More CAs that an instance trusts: read where its spec says that they are.

use std::collections::BTreeMap;

use k8s_openapi::{
    ByteString,
    api::core::v1::{ConfigMap, Secret},
};
use kube::{Api, Client};

use super::{context::Context, errors::Error, instances::Instance, observe, triggers::Target};
use crate::domain::{
    instance::InstanceJudgement,
    names,
    trust::{CaSource, SourceKind},
};

/// CAs that were found.
pub struct Authorities {
    /// Where.
    pub source: CaSource,
    /// The text there, PEM if all is well.
    pub pem: String,
    /// Which version of the ConfigMap or Secret that was.
    pub version: String,
}

/// Reads the CAs of an instance, if its spec names some; or says why there are none.
pub async fn authorities<K: Instance>(
    object: &K,
    context: &Context,
) -> Result<Result<Option<Authorities>, InstanceJudgement>, Error> {
    let (spec, namespace) = object.access();
    let source = match CaSource::of(spec.tls.as_ref()) {
        Ok(Some(source)) => source,
        Ok(None) => return Ok(Ok(None)),
        Err(judgement) => return Ok(Err(judgement)),
    };
    if !names::is_object_name(&namespace) {
        return Ok(Err(source.missing(&namespace)));
    }
    let asked = context.sources.ask();
    let found = match source.kind {
        SourceKind::ConfigMap => of_config_map(&source, &namespace, &context.client).await?,
        SourceKind::Secret => of_secret(&source, &namespace, &context.client).await?,
    };
    if let Some(key) = object.ca() {
        let version = found.as_ref().map(|(version, _)| version.as_str());
        let others = context.sources.read(&Target::Instance(object.key()), &key, version, asked);
        others.iter().for_each(|other| context.triggers.look(other));
    }
    let Some((version, bytes)) = found else { return Ok(Err(source.missing(&namespace))) };
    // PEM is ASCII; what people write around it is skipped, in whatever encoding.
    let pem = bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    Ok(match pem.filter(|pem| !pem.trim().is_empty()) {
        Some(pem) => Ok(Some(Authorities { source, pem, version })),
        None => Err(source.no_key(&namespace)),
    })
}

/// A version, and what is behind the key.
type Found = Option<(String, Option<Vec<u8>>)>;

async fn of_config_map(source: &CaSource, namespace: &str, client: &Client) -> Result<Found, Error> {
    let found = Api::<ConfigMap>::namespaced(client.clone(), namespace).get_opt(&source.name).await?;
    Ok(found.map(|map| {
        let text = map.data.as_ref().and_then(|data| data.get(&source.key)).map(|text| text.clone().into_bytes());
        (observe::version_of(&map), text.or_else(|| value(map.binary_data.as_ref(), &source.key)))
    }))
}

async fn of_secret(source: &CaSource, namespace: &str, client: &Client) -> Result<Found, Error> {
    let found = Api::<Secret>::namespaced(client.clone(), namespace).get_opt(&source.name).await?;
    Ok(found.map(|secret| (observe::version_of(&secret), value(secret.data.as_ref(), &source.key))))
}

fn value(data: Option<&BTreeMap<String, ByteString>>, key: &str) -> Option<Vec<u8>> {
    data.and_then(|data| data.get(key)).map(|bytes| bytes.0.clone())
}
