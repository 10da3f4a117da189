//! The API server in memory, by which other tests work, behaves like a real one: the same scenarios are played on both,
//! and what was said is compared word by word.

mod play;
mod scenarios;

use memory_api::MemoryApi;

use self::{play::Play, scenarios::SCENARIOS};
use crate::harness::Plane;

#[tokio::test(flavor = "multi_thread")]
async fn it_says_what_a_real_one_says() {
    let plane = Plane::shared().await;
    let mut differences = Vec::new();
    for (name, scenario) in SCENARIOS {
        let real = Play::on(plane.client().await).await.play(scenario).await;
        let memory = MemoryApi::new(jiff::Timestamp::now);
        let imitated = Play::on(memory.client()).await.play(scenario).await;
        assert_eq!(memory.unsupported(), Vec::<String>::new(), "{name}");
        for (real, imitated) in real.iter().zip(&imitated) {
            if real != imitated {
                differences.push(format!("{name}:\nreal      {real}\nin memory {imitated}\n"));
            }
        }
        assert_eq!(real.len(), imitated.len(), "{name}: the scenario itself differs");
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
