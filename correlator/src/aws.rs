//! Sources that ask AWS, by its own SDK: queues of notifications, and buckets listed.
//!
//! The SDK waits in its own threads; what reads records stays as plain as it is for files, on threads of its own.

pub(crate) mod access;
mod bucket;
mod dead_letter;
mod digests;
mod fetch;
mod hand;
mod queue;

pub(crate) use bucket::Listing;
pub(crate) use queue::Queued;

use std::future::Future;
use std::time::Duration;

use crate::source::stop::Stop;

/// How soon a wait for AWS notices that it is time to stop.
const BREATH: Duration = Duration::from_millis(100);

/// Waits for `work`, or until it is time to stop.
async fn unless_stopped<T>(stop: &Stop, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        done = work => Some(done),
        () = async {
            while !stop.is_set() {
                tokio::time::sleep(BREATH).await;
            }
        } => None,
    }
}

/// The SDK's own threads.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name("aws").enable_all().build()
}
