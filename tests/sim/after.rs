//! The bucket alone, when nobody writes any more.

use std::collections::BTreeSet;

use strandline::{
    cluster,
    store::{Key, path},
};

use crate::world::World;

/// Every reference leads to an object (I17), and every object is referred to (I18).
pub async fn judge(world: &World) {
    let (store, env) = world.store();
    let seen = match cluster::look(&store, &env).await {
        Ok(Some(seen)) => seen,
        // No broker lived long enough.
        Ok(None) => return,
        Err(error) => return world.violated("I21 the metadata log is whole", error.to_string()),
    };
    let mut listed = BTreeSet::new();
    for prefix in [path::data_prefix(), path::manifest_prefix()] {
        let page = store.list(&prefix, None).await.unwrap();
        listed.extend(page.listed.into_iter().map(|it| it.key));
    }
    let state = &seen.state;
    let mut referred: BTreeSet<Key> = state
        .objects
        .iter()
        .map(|(id, object)| path::data(*id, object.incarnation, object.nonce))
        .collect();
    for topic in state.topics.values() {
        for (partition, index) in topic.partitions.iter().zip(0..) {
            let manifest = partition.manifest.as_ref();
            referred.extend(manifest.map(|it| path::manifest(topic.id, index, it.version)));
            let mut next = partition.manifest.as_ref().map_or(partition.log_start, |it| it.end);
            for run in &partition.runs {
                if run.base > next || run.end <= next {
                    let text = format!("{} {index}: {run:?} after {next}", topic.name);
                    world.violated("I3 runs tile", text);
                }
                next = run.end;
                if !state.objects.contains_key(&run.object) {
                    world.violated("I17 a run's object is known", format!("{run:?}"));
                }
            }
        }
    }
    for missing in referred.difference(&listed) {
        world.violated("I17 no reference without an object", missing.as_str());
    }
    let unlinked: BTreeSet<Key> =
        state.unlinked.iter().map(|(id, it)| path::data(*id, it.incarnation, it.nonce)).collect();
    for orphan in listed.difference(&referred).filter(|key| !unlinked.contains(*key)) {
        world.violated("I18 no orphan stays", orphan.as_str());
    }
}
