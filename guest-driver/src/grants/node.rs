// SPDX-License-Identifier: GPL-3.0-only
//! How the logger's domain finds what is granted to it: a node below the guest's own home, which that domain may read.

use toolstack::ids::DomId;
use toolstack::store::{Permission, Request, Store, StoreExt, XsPath};

/// The domain behind network interface `vif`, where the logger is.
pub(crate) fn logger<S: Store + ?Sized>(store: &S, vif: u32) -> Result<u16, String> {
    let path = format!("device/vif/{vif}/backend-id");
    let id = store.read_text(&XsPath::new(&path));
    let id = id.map_err(|e| e.to_string())?;
    id.and_then(|id| id.parse().ok())
        .ok_or_else(|| format!("no logger: network interface {vif} has no back-end ({path})"))
}

/// Tells `logger` of what it is granted.
pub(crate) fn publish<S: Store + ?Sized>(
    store: &S,
    node: &str,
    logger: u16,
    gref: u32,
    port: u32,
) -> Result<(), String> {
    let own = store.read_text(&XsPath::new("domid"));
    let own = own
        .map_err(|e| e.to_string())?
        .and_then(|id| id.parse().ok());
    let own = DomId(own.ok_or("xenstore does not tell this domain's number (domid)")?);
    let requests = [
        Request::write(XsPath::new(node), format_args!("{gref} {port}")),
        Request::SetPerms(
            XsPath::new(node),
            vec![Permission::owner(own), Permission::read(DomId(logger))],
        ),
    ];
    // In one: there is no moment at which the logger could look and see half of it.
    let done = store.transaction(|tx| tx.all(&requests));
    done.map(drop).map_err(|e| e.to_string())
}

/// Takes the node away; it may be gone already.
pub(crate) fn withdraw<S: Store + ?Sized>(store: &S, node: &str) -> Result<(), String> {
    store
        .remove_all(&[XsPath::new(node)])
        .map_err(|e| e.to_string())
}
