// SPDX-License-Identifier: GPL-3.0-only
//! Exchanges of HTTP whose server dies: the house (`house`), what is opaque in HTTP (`pipes`), what is not (`messages`), what
//! must not be done twice (`once`), and stock clients (`stock`).

pub(crate) mod house;
pub(crate) mod messages;
pub(crate) mod once;
pub(crate) mod pipes;
pub(crate) mod stock;
