// SPDX-License-Identifier: GPL-3.0-only
//! Bindings to Xen's control libraries and safe handles over them.
