//! One look at a namespace: what is to be named there is named, and what came of it is told. IO.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream};

use super::{
    account, fights,
    memory::ObjectOfLinks,
    place::{Account, Asking, Losses, Naming, Place},
    release::{Release, release},
    standing::{Fault, Standing},
    survey::survey,
    table,
    wanted::{Wanted, wanted},
    write::{self, Wrote},
};
use crate::{
    api::names::DEFAULT_SERVICE_ACCOUNT,
    controller::{Context, secret_meta::ObjectKey},
};

/// How many ServiceAccounts of a namespace are written at the same time.
const CONCURRENCY: usize = 8;

/// A table in which an account is missing whose Pods would be refused is put right after this time at the latest, whoever fights
/// for it.
const URGENT: Duration = Duration::from_secs(10);

/// When a namespace is looked at again if nothing changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Not at all.
    Never,
    /// At this uptime.
    At(Duration),
    /// Soon: something was other than was thought, or nobody answered.
    Soon,
}

impl Next {
    fn or_at(self, time: Option<Duration>) -> Self {
        match (self, time) {
            (Self::Never, Some(time)) => Self::At(time),
            (Self::At(one), Some(other)) => Self::At(one.min(other)),
            (same, _) => same,
        }
    }
}

/// What became of one object.
#[derive(Default)]
struct Done {
    /// The names that a ServiceAccount has now.
    names: Vec<String>,
    /// The table is as it should be now.
    is_right: bool,
    fault: Option<Fault>,
    /// When it is worth another try.
    again: Option<Duration>,
    is_unsettled: bool,
}

/// Brings the links of a namespace to where they should be.
pub async fn visit(context: &Context, namespace: &Arc<str>) -> Next {
    let Some(mut place) = context.index.place(namespace) else {
        context.linking.memory.forget(namespace);
        context.index.nothing_to_link(namespace);
        return Next::Never;
    };
    let mut next = Next::Never;
    if place.asks_about_the_unknown() {
        if let Err(error) = survey(context, namespace, &place).await {
            let error = &error as &dyn std::error::Error;
            tracing::debug!(namespace = namespace.as_ref(), error, "it could not be found out whose Secrets are there");
            next = Next::Soon;
        }
        match context.index.place(namespace) {
            Some(newer) => place = newer,
            None => return Next::Soon,
        }
    }
    let wanted = wanted(&place);
    let release = release(context, namespace, &place, &wanted).await;
    // Before the accounts, and before any credential: a Pod that is created too early never gets what it lacks.
    let table = write_table(context, namespace, &place, &wanted, &release).await;
    let accounts = write_accounts(context, namespace, &place, &wanted, &release).await;
    let is_unsettled = table.is_unsettled || accounts.values().any(|done| done.is_unsettled);
    if is_unsettled || place.asks_about_the_unknown() {
        next = Next::Soon;
    }
    let settled = (next != Next::Soon).then_some(place.moment);
    context.index.linked(namespace, standings(&place, &wanted, &table, &accounts), settled);
    let again = accounts.values().map(|done| done.again).chain([table.again, release.next]).flatten().min();
    next.or_at(again)
}

async fn write_table(
    context: &Context,
    namespace: &Arc<str>,
    place: &Place,
    wanted: &Wanted,
    release: &Release,
) -> Done {
    let restricted = restricted(place);
    let plan = table::plan(namespace, place.table.as_ref(), &wanted.table, &restricted, &release.released);
    let now = context.clock.uptime();
    let losses = context.index.table_losses(namespace);
    let object = ObjectOfLinks::table(namespace);
    let mut done = Done { is_right: plan == table::Plan::Nothing, ..Done::default() };
    (done.fault, done.again) = conflict(losses, now, Fault::TableTakenAway);
    // While an account is not left out that is to be, its Pods are refused.
    let longest = if table::leaves_out(place.table.as_ref(), &restricted) { Duration::MAX } else { URGENT };
    if let Some(wait) = wait(losses, longest, now).filter(|_| !done.is_right) {
        done.again = Some(wait);
        return done;
    }
    if let Some(until) = context.linking.memory.denied(&object, now).filter(|_| plan != table::Plan::Nothing) {
        return Done { fault: Some(object.denied()), again: Some(until), ..done };
    }
    let there = place.table.as_ref().filter(|table| table.content.is_ours);
    let delete = || there.map(|table| write::delete_table(context, namespace, table).boxed());
    let data = plan.data();
    let write: Option<BoxFuture<'_, Wrote>> = match plan {
        table::Plan::Nothing => None,
        table::Plan::Foreign => {
            done.fault = Some(Fault::ForeignTable);
            None
        }
        table::Plan::Create(table) => {
            Some(async move { write::create_table(context, namespace, &table).await }.boxed())
        }
        table::Plan::Patch(patch, _) => Some(write::patch_table(context, namespace, patch).boxed()),
        table::Plan::Delete => {
            // One that could not be changed is made anew.
            done.is_unsettled |= !wanted.table.is_empty();
            delete()
        }
        table::Plan::TooLarge => {
            done.fault = Some(Fault::TableTooLarge);
            delete()
        }
    };
    if let Some(write) = write {
        context.index.writes_table(namespace, data);
        let wrote = context.pace.at_its_turn(None, write).await;
        context.index.wrote_table(namespace);
        done.is_right = wrote == Some(Wrote::Done);
        settle(context, &object, wrote, &mut done);
    }
    done
}

/// The ServiceAccounts whose Pods may name only what they name themselves.
fn restricted(place: &Place) -> BTreeSet<Arc<str>> {
    let restricted = place.accounts.iter().filter(|(_, account)| account.links.is_restricted);
    restricted.map(|(name, _)| Arc::clone(name)).collect()
}

async fn write_accounts(
    context: &Context,
    namespace: &Arc<str>,
    place: &Place,
    wanted: &Wanted,
    release: &Release,
) -> BTreeMap<Arc<str>, Done> {
    let nothing = BTreeMap::new();
    let concerned = place
        .accounts
        .iter()
        .filter(|(name, account)| wanted.accounts.contains_key(name) || !account.links.claims.is_empty());
    let writes = concerned.map(|(name, account)| {
        let secrets = wanted.accounts.get(name).unwrap_or(&nothing);
        let plan = account::plan(&account.links, secrets, &release.released);
        async move { (Arc::clone(name), write_account(context, namespace, (name, account), plan).await) }
    });
    stream::iter(writes.collect::<Vec<_>>()).buffer_unordered(CONCURRENCY).collect().await
}

async fn write_account(
    context: &Context,
    namespace: &Arc<str>,
    (name, account): (&Arc<str>, &Account),
    plan: account::Plan,
) -> Done {
    let now = context.clock.uptime();
    let object = ObjectOfLinks::account(namespace, name);
    let mut done = Done { names: account.links.names.clone(), ..Done::default() };
    (done.fault, done.again) = conflict(account.losses, now, Fault::TakenAway(Arc::clone(name)));
    let change = match plan {
        account::Plan::Nothing => return done,
        account::Plan::TooMuch => return Done { fault: Some(Fault::AccountFull(Arc::clone(name))), ..done },
        account::Plan::Change(change) => change,
    };
    if let Some(wait) = wait(account.losses, Duration::MAX, now) {
        done.again = Some(wait);
        return done;
    }
    if let Some(until) = context.linking.memory.denied(&object, now) {
        return Done { fault: Some(object.denied()), again: Some(until), ..done };
    }
    let key = ObjectKey { namespace: namespace.to_string(), name: name.to_string() };
    context.index.writes_service_account(&key, Some(change.names.clone()));
    let wrote = context.pace.at_its_turn(None, write::account(context, &key, change.patch(account))).await;
    context.index.writes_service_account(&key, None);
    if wrote == Some(Wrote::Done) {
        done.names = change.names;
    }
    settle(context, &object, wrote, &mut done);
    done
}

/// What is told of an object that loses what we write, and until when that is told.
fn conflict(losses: Option<Losses>, now: Duration, fault: Fault) -> (Option<Fault>, Option<Duration>) {
    let until = losses.and_then(|losses| fights::conflict(losses, now));
    (until.map(|_| fault), until)
}

/// Until when to wait before anything is written, if at all; for no longer than `longest` since it was changed.
fn wait(losses: Option<Losses>, longest: Duration, now: Duration) -> Option<Duration> {
    let losses = losses?;
    let time = fights::not_before(losses).min(losses.last.saturating_add(longest));
    Some(time).filter(|time| *time > now)
}

fn settle(context: &Context, object: &ObjectOfLinks, wrote: Option<Wrote>, done: &mut Done) {
    match wrote {
        Some(Wrote::Done) => context.linking.memory.succeeded(object),
        Some(Wrote::Changed | Wrote::Undecided) => done.is_unsettled = true,
        Some(Wrote::Denied) => {
            done.again = Some(context.linking.memory.was_denied(object, context.clock.uptime()));
            done.fault = Some(object.denied());
        }
        None => {}
    }
}

/// What became of the links of each connection that asks for some here.
fn standings(place: &Place, wanted: &Wanted, table: &Done, accounts: &BTreeMap<Arc<str>, Done>) -> Vec<Standing> {
    let asking = place.asking.iter().filter(|asking| !asking.wish.is_at_rest);
    let standing = |asking: &Asking| {
        let wish = &asking.wish;
        let reference = &wish.connection.reference;
        let mut standing = Standing { wish: Arc::clone(wish), linked: 0, is_in_table: false, faults: vec![] };
        let taken = wanted.taken.get(reference);
        standing.faults.extend(taken.map(|holder| Fault::DefaultTaken(holder.clone())));
        let default = wish.default_of.as_ref().filter(|_| taken.is_none()).map(|_| Arc::from(DEFAULT_SERVICE_ACCOUNT));
        let names: BTreeSet<Arc<str>> = wish.accounts.iter().cloned().chain(default).collect();
        for name in names {
            match accounts.get(&name) {
                Some(done) => {
                    standing.linked += u16::from(done.names.contains(&wish.secret));
                    standing.faults.extend(done.fault.clone());
                }
                None if place.accounts.iter().any(|(known, _)| *known == name) => {}
                None => standing.faults.push(Fault::Missing(name)),
            }
        }
        if wanted.table.get(&wish.secret).is_some_and(|row| row.holders.contains_key(reference)) {
            standing.is_in_table = table.is_right;
            standing.faults.extend(table.fault.clone());
            standing.faults.extend(restricted(place).into_iter().map(Fault::Restricted));
        }
        if asking.secret == Naming::Foreign {
            standing.faults.push(Fault::ForeignSecret);
        }
        standing.faults.sort();
        standing
    };
    asking.map(standing).collect()
}
