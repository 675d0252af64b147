// SPDX-License-Identifier: GPL-3.0-only
/* What bindgen reads. libxenctrl's domctl and sysctl headers are for the toolstack only. */
#ifndef __XEN_TOOLS__
#define __XEN_TOOLS__ 1
#endif
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <xentoollog.h>
#include <xenctrl.h>
#include <xenguest.h>
#include <xen/features.h>
#include <xen/hvm/params.h>
