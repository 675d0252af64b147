// SPDX-License-Identifier: GPL-3.0-only
//! Drills: a service under load, faults at set moments, and a report of what its clients saw.
//!
//! Who lives here: `plan`, what a drill file says; `engine`, the drill as it goes, without I/O; `stage`, where it goes on;
//! `load`, the clients; `report`; `compare`. The program `rxl-drill` calls in, which `rxl drill` starts. Data flows
//! one way: plan -> engine -> actions for the stage, and samples -> engine -> report.
#![deny(unsafe_code)]

pub mod cli;
pub mod compare;
pub mod engine;
pub mod load;
pub mod plan;
pub mod report;
pub mod run;
pub mod shipped;
pub mod stage;
