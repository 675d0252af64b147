// SPDX-License-Identifier: GPL-2.0-only OR GPL-3.0-only
// The fast path: what is to become of a frame that arrives at a port of the logger, decided in the kernel.
//
// A tc classifier (direct action) at the ingress of each port. Frames that need nobody's attention are sent on;
// segments of connections that user space has given it are passed by the rules of `flow/model.rs`, of which this is
// the same in C; the rest is left to the packet sockets of user space ("punted"), which are bound to protocols and so
// see only what this program lets pass. Maps and their layouts: `datapath/fast/maps.rs`.
//
// License: a program that calls GPL-only helpers must name a GPL-compatible license to the kernel.

#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <stddef.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "model.h"

#define ETH_LEN 14
#define VLAN_ANY_TAG 0x0fff /* a tag number that no network uses */
#define IPPROTO_TCP_ 6
#define IPPROTO_ICMP_ 1
#define IPPROTO_ICMPV6_ 58

enum { P_IPV4 = 0x0800, P_ARP = 0x0806, P_8021Q = 0x8100, P_IPV6 = 0x86dd, P_8021AD = 0x88a8, P_QINQ = 0x9100 };

/* ---- Maps ---- */

/* What user space has said of a port; without an entry its frames are left to the sockets. */
enum { PORT_OPEN, PORT_CLOSED, PORT_WATCHED };

struct port {
	__u32 closed; /* one of the above */
	__u32 peer; /* interface index */
	__u32 group;
	__u32 side; /* 0: north, 1: south */
};

struct service {
	__u32 group;
	__u32 port; /* 0: all of the group's TCP connections must be seen */
};

struct control {
	__u64 alive_until; /* CLOCK_MONOTONIC, ns */
	__u32 wake_at;     /* unread bytes of the ring that wake user space */
	__u32 fail_open;
};

enum stat { FORWARDED, PUNTED, RING_FULL, CLOSED, UNATTENDED, UNPROTECTED, STATS };

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct port);
} ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct service);
	__type(value, __u32);
} services SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 131072);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct key);
	__type(value, struct flow);
} flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct control);
} control SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, STATS);
	__type(key, __u32);
	__type(value, __u64);
} stats SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4 << 20);
} ring SEC(".maps");

/* ---- Verdicts ---- */

static __always_inline void count(enum stat what)
{
	__u32 index = what;
	__u64 *value = bpf_map_lookup_elem(&stats, &index);

	if (value)
		*value += 1;
}

static __always_inline struct control *settings(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&control, &zero);
}

static __always_inline int forward(const struct port *port)
{
	count(FORWARDED);
	return bpf_redirect(port->peer, 0);
}

/* Whether user space has lately said that it is there. */
static __always_inline bool attended(const struct control *control)
{
	return control && bpf_ktime_get_ns() < control->alive_until;
}

/* Leaves the frame to user space. The kernel forgets a tag that was taken out of a frame before protocol sockets see
 * it, so it is put back in: a second tag is pushed, which the kernel forgets instead. */
static __always_inline int leave(struct __sk_buff *skb)
{
	count(PUNTED);
	if (skb->vlan_present)
		bpf_skb_vlan_push(skb, bpf_htons(P_8021Q), VLAN_ANY_TAG);
	return TC_ACT_OK;
}

/* A frame that is of no protected connection, but that user space wants to see. Without it, it is sent on. */
static __always_inline int look(struct __sk_buff *skb, const struct port *port)
{
	return attended(settings()) ? leave(skb) : forward(port);
}

/* A segment of a protected service that only user space can judge. Without it: as the operator has chosen. */
static __always_inline int punt(struct __sk_buff *skb, const struct port *port)
{
	struct control *control = settings();

	if (attended(control))
		return leave(skb);
	if (control && control->fail_open) {
		count(UNPROTECTED);
		return forward(port);
	}
	count(UNATTENDED);
	return TC_ACT_SHOT;
}

/* ---- Records ---- */

/* Hides from the compiler where a value comes from, lest it checks one copy of it and uses another. */
#define BOUNDED(value) asm volatile("" : "+r"(value))

/* Copies `record.len` bytes from `from` on behind `record` into the ring, in the smallest of some sizes: a
 * reservation's size must be known to the verifier. User space is woken when much is unread, not by each record. */
#define KEEP_IN(SIZE)                                                                      \
	BOUNDED(more);                                                                     \
	if (more < (SIZE) - sizeof(struct record)) {                                       \
		struct record *room = bpf_ringbuf_reserve(&ring, (SIZE), 0);               \
		if (!room)                                                                 \
			return false;                                                      \
		*room = *record;                                                           \
		if (bpf_skb_load_bytes(skb, from, room + 1, more + 1)) {                   \
			bpf_ringbuf_discard(room, BPF_RB_NO_WAKEUP);                       \
			return false;                                                      \
		}                                                                          \
		bpf_ringbuf_submit(room, wake);                                            \
		return true;                                                               \
	}

static __noinline bool keep(struct __sk_buff *skb, const struct record *record, __u32 from)
{
	/* One less: Linux 6.1 does not conclude from "not 0" that it is at least 1. Of nothing it becomes too much. */
	__u64 more = (__u64)record->len - 1;
	struct control *control = settings();
	__u64 wake = BPF_RB_NO_WAKEUP;

	if (!control)
		return false;
	if (bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA) >= control->wake_at)
		wake = BPF_RB_FORCE_WAKEUP;
	/* With its header of 8 bytes each fills a round number. */
	KEEP_IN(256 - 8)
	KEEP_IN(2048 - 8)
	KEEP_IN(8192 - 8)
	KEEP_IN(16384 - 8)
	KEEP_IN(32768 - 8)
	KEEP_IN(65536 - 8)
	return false;
}

/* ---- A segment of a connection ---- */

/* Writes the changed header and mends the checksum, also an unfinished one. */
static __always_inline bool rewrite(struct __sk_buff *skb, struct segment *segment, const struct change *change)
{
	__u32 header[15], len = segment->header_len & 0x3c;
	__u64 size;
	__s64 diff;

	__builtin_memcpy(header, segment->header, sizeof(header));
	header[1] = bpf_htonl(change->seq);
	header[2] = bpf_htonl(change->ack);
	header[3] = (header[3] & bpf_htonl(0xffff0000)) | bpf_htonl(change->window);
	if (change->stamped) {
		header[6] = bpf_htonl(change->tsval);
		header[7] = bpf_htonl(change->tsecr);
	}
	if (change->sack) {
		__u32 first = change->stamped ? 9 : 6;
#pragma unroll
		for (__u32 edge = 6; edge < 15; edge++)
			if (edge >= first && edge * 4 < len)
				header[edge] = bpf_htonl(bpf_ntohl(header[edge]) - change->sack);
	}
	/* 64 bits wide, or what is compared is a copy with its upper half cleared. */
	size = (((__u64)len - 20) & 0x3c) + 20;
	BOUNDED(size);
	if (size > 60)
		return false;
	diff = bpf_csum_diff(segment->header, size, header, size, 0);
	if (diff < 0 || bpf_skb_store_bytes(skb, segment->l4, header, size, 0))
		return false;
	return !bpf_l4_csum_replace(skb, segment->l4 + 16, 0, diff, 0);
}

/* Reads the bytes that will be samples. What cannot be read is not sampled. */
static __always_inline void read_samples(struct __sk_buff *skb, struct segment *segment, const struct flow *flow,
					 struct samples *samples)
{
	__u32 seq = segment->seq, at;

	if (flow->flags & FLAG_MAPPED)
		seq += flow->seq_delta;
	samples->next = flow->sample_next;
	samples->count = 0;
	if (!segment->len || !before(samples->next, seq + segment->len))
		return;
	at = samples->next - seq;
	if (before(samples->next, seq))
		at = first_sample(samples->next, seq) - seq;
#pragma unroll
	for (int i = 0; i < SAMPLES_IN_SEGMENT; i++, at += SAMPLE_EVERY) {
		if (at + 8 > segment->len ||
		    bpf_skb_load_bytes(skb, segment->l4 + segment->header_len + at, &samples->bytes[i], 8))
			return;
		samples->count = i + 1;
	}
}

static __noinline enum action pass(struct __sk_buff *skb, struct segment *segment, struct flow *flow, __u32 side)
{
	struct record record = {};
	struct change change = {};
	struct samples samples = {};
	struct wish wish = {};
	enum action action;

	if (!flow)
		return PUNT;
	if (side)
		read_samples(skb, segment, flow, &samples);
	bpf_spin_lock(&flow->lock);
	action = begin(flow, segment, side, &record, &wish);
	bpf_spin_unlock(&flow->lock);
	if (action != FORWARD)
		return action;
	if (record.len && !keep(skb, &record, segment->l4 + segment->header_len)) {
		struct control *control = settings();

		/* User space makes room before it takes the segment, and the sender feels that it waits. Without it there
		 * will be none: the sender waits, or, as the operator has chosen, goes on without protection. */
		if (!attended(control) && !(control && control->fail_open))
			return DROP;
		bpf_spin_lock(&flow->lock);
		flow->flags |= FLAG_PUNTED;
		bpf_spin_unlock(&flow->lock);
		return PUNT;
	}
	bpf_spin_lock(&flow->lock);
	action = finish(flow, segment, side, &wish, &samples, &change);
	bpf_spin_unlock(&flow->lock);
	if (action == FORWARD && change.mapped && !rewrite(skb, segment, &change))
		return DROP;
	return action;
}

/* ---- From a frame to its connection ---- */

static __always_inline bool is_service(__u32 group, __u32 number)
{
	struct service service = { .group = group, .port = number };

	if (bpf_map_lookup_elem(&services, &service))
		return true;
	service.port = 0;
	return bpf_map_lookup_elem(&services, &service);
}

/* Whether the checksum is verified, or left to the device that sends the frame on. */
static __always_inline bool trusted(struct __sk_buff *skb, __u64 pseudo, __u16 field)
{
	/* The kernel makes super-segments only of verified segments, or sends them unfinished. */
	if (skb->gso_size)
		return true;
	pseudo = (pseudo & 0xffffffff) + (pseudo >> 32);
	pseudo = (pseudo & 0xffff) + (pseudo >> 16);
	pseudo = (pseudo & 0xffff) + (pseudo >> 16);
	pseudo = (pseudo & 0xffff) + (pseudo >> 16);
	return pseudo == field || bpf_csum_level(skb, BPF_CSUM_LEVEL_QUERY) >= 0;
}

static __always_inline int tcp(struct __sk_buff *skb, const struct port *port, struct segment *segment,
			       const __u32 *from, const __u32 *to, __u32 total)
{
	struct key key = { .group = port->group };
	__u16 src, dst;
	__u64 pseudo;
	struct flow *flow;
	__u32 len;

	/* `total` counts from the TCP header on. The first 20 bytes are there. */
	src = segment->header[0] & 0xffff;
	dst = segment->header[0] >> 16;
	if (port->side) {
		__builtin_memcpy(key.server, from, 16);
		__builtin_memcpy(key.client, to, 16);
		key.server_port = bpf_ntohs(src);
		key.client_port = bpf_ntohs(dst);
	} else {
		__builtin_memcpy(key.client, from, 16);
		__builtin_memcpy(key.server, to, 16);
		key.client_port = bpf_ntohs(src);
		key.server_port = bpf_ntohs(dst);
	}
	flow = bpf_map_lookup_elem(&flows, &key);
	if (!flow)
		return is_service(key.group, key.server_port) ? punt(skb, port) : forward(port);

	len = (bpf_ntohl(segment->header[3]) >> 28) * 4;
	if (len < 20 || len > total)
		return punt(skb, port);
	segment->header_len = len;
	if (len > 20) {
		__u32 options = len - 20;

		/* Kept in one register, so that the verifier of Linux 6.1 knows the bounds where they are used. */
		BOUNDED(options);
		if (options < 4 || options > 40 || bpf_skb_load_bytes(skb, segment->l4 + 20, &segment->header[5], options))
			return punt(skb, port);
	}
	pseudo = (__u64)bpf_htonl(total) + bpf_htonl(IPPROTO_TCP_);
#pragma unroll
	for (int i = 0; i < 4; i++)
		pseudo += (__u64)from[i] + to[i];
	/* The 0xffff of a mapped IPv4 address adds nothing to a sum in one's complement. */
	segment->trusted = trusted(skb, pseudo, segment->header[4] & 0xffff);
	segment->seq = bpf_ntohl(segment->header[1]);
	segment->ack = bpf_ntohl(segment->header[2]);
	segment->flags = bpf_ntohl(segment->header[3]) >> 16;
	segment->window = bpf_ntohl(segment->header[3]);
	segment->len = total - len;
	segment->key = &key;

	switch (pass(skb, segment, flow, port->side)) {
	case FORWARD:
		return forward(port);
	case DROP:
		count(RING_FULL);
		return TC_ACT_SHOT;
	default:
		/* Without user space no one would renumber it: to pass it on as it is would harm the connection. */
		if (flow->flags & FLAG_MAPPED && !attended(settings())) {
			count(UNATTENDED);
			return TC_ACT_SHOT;
		}
		return punt(skb, port);
	}
}

static __always_inline int ipv4(struct __sk_buff *skb, const struct port *port)
{
	struct segment segment = { .l4 = ETH_LEN + 20 };
	__u32 from[4] = {}, to[4] = {}, header[5], total;

	/* Options and fragments are rare and for user space. */
	if (bpf_skb_load_bytes(skb, ETH_LEN, header, sizeof(header)))
		return look(skb, port);
	if ((bpf_ntohl(header[0]) >> 24) != 0x45 || bpf_ntohl(header[1]) & 0x3fff)
		return look(skb, port);
	switch (bpf_ntohl(header[2]) >> 16 & 0xff) {
	case IPPROTO_TCP_:
		break;
	case IPPROTO_ICMP_:
		return look(skb, port);
	default:
		return forward(port);
	}
	total = bpf_ntohl(header[0]) & 0xffff;
	if (total < 40 || total > skb->len - ETH_LEN || bpf_skb_load_bytes(skb, segment.l4, segment.header, 20))
		return look(skb, port);
	from[2] = to[2] = bpf_htonl(0xffff);
	from[3] = header[3];
	to[3] = header[4];
	return tcp(skb, port, &segment, from, to, total - 20);
}

static __always_inline int ipv6(struct __sk_buff *skb, const struct port *port)
{
	struct segment segment = { .l4 = ETH_LEN + 40 };
	__u32 header[10], total;

	if (bpf_skb_load_bytes(skb, ETH_LEN, header, sizeof(header)))
		return look(skb, port);
	if ((bpf_ntohl(header[0]) >> 28) != 6)
		return look(skb, port);
	switch (bpf_ntohl(header[1]) >> 8 & 0xff) {
	case IPPROTO_TCP_:
		break;
	case 17:  /* UDP */
	case 132: /* SCTP */
		return forward(port);
	default: /* ICMPv6, extension headers */
		return look(skb, port);
	}
	total = bpf_ntohl(header[1]) >> 16;
	if (total < 20 || total > skb->len - ETH_LEN - 40 || bpf_skb_load_bytes(skb, segment.l4, segment.header, 20))
		return look(skb, port);
	return tcp(skb, port, &segment, header + 2, header + 6, total);
}

SEC("classifier")
int fastpath(struct __sk_buff *skb)
{
	__u32 index = skb->ingress_ifindex;
	struct port *port = bpf_map_lookup_elem(&ports, &index);

	if (!port)
		return TC_ACT_OK;
	if (port->closed == PORT_WATCHED && attended(settings()))
		return leave(skb);
	if (port->closed) {
		count(CLOSED);
		return TC_ACT_SHOT;
	}
	switch (bpf_ntohs(skb->protocol)) {
	case P_IPV4:
		return ipv4(skb, port);
	case P_IPV6:
		return ipv6(skb, port);
	case P_ARP:
	case P_8021Q:
	case P_8021AD:
	case P_QINQ:
		return look(skb, port);
	default:
		return forward(port);
	}
}

/* Called by user space, with a key in the place of a packet: takes that connection out of this program's hands. What
 * it says afterwards is final. */
SEC("classifier")
int stop(struct __sk_buff *skb)
{
	struct key key;
	struct flow *flow;

	if (bpf_skb_load_bytes(skb, ETH_LEN, &key, sizeof(key)))
		return -1;
	flow = bpf_map_lookup_elem(&flows, &key);
	if (!flow)
		return 0;
	bpf_spin_lock(&flow->lock);
	flow->flags |= FLAG_PUNTED;
	bpf_spin_unlock(&flow->lock);
	return 1;
}

char _license[] SEC("license") = "GPL";
