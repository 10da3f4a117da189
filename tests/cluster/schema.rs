//! What the API server makes of good and bad manifests.

use crate::harness::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_world_starts() {
    let world = World::builder().without_operator().start().await;
    world.secret("bitbucket-token", "a", "b").await;
    world.instance().await;
    let bbc = world.connection("payments").apply().await;
    assert_eq!(crate::harness::kstatus(&bbc), crate::harness::Kstatus::InProgress);
    assert_eq!(world.api_writes(), []);
    println!("{}", world.report("payments").await);
}
