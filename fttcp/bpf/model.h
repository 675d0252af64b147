// SPDX-License-Identifier: GPL-2.0-only OR GPL-3.0-only
// The rules by which segments of one connection are passed: `flow/model.rs` in C, and `flow/mod.rs`'s layouts.
//
// A segment is passed in two steps, each under the connection's lock: `begin` decides and says what must be copied
// out, `finish` does what follows from that. In between, without the lock (the kernel allows no calls under one), the
// bytes are copied. `finish` looks whether the connection is still the same.

#pragma once

#include <linux/types.h>
#include <stdbool.h>

#include <bpf/bpf_endian.h>

#include <bpf/bpf_helpers.h>

#define FLAG_LOG 1
#define FLAG_STAMPED 2
#define FLAG_MAPPED 4
#define FLAG_PUNTED 8
#define FLAG_CAPTURING 16

#define SAMPLE_EVERY (16 * 1024)
#define SAMPLES 16
#define SAMPLES_IN_SEGMENT 4 /* of at most 64 KiB */
#define SLACK (64 * 1024)
#define PROBE 1

#define TCP_SYN_FIN_RST 0x07
#define TCP_ACK 0x10
#define TCP_PLAIN 0xd8 /* ACK, PSH, ECE, CWR */

enum action { FORWARD, PUNT, DROP };

struct key {
	__u32 group;
	__u16 client_port;
	__u16 server_port;
	__u32 client[4];
	__u32 server[4];
};

struct flow {
	__u32 slot;
	__u32 generation;
	__u32 flags;
	__u8 client_scale;
	__u8 shown_scale;
	__u8 present_scale;
	__u8 reserved;
	__u32 client_next;
	__u32 client_tsval;
	__u32 client_right;
	__u32 server_una;
	__u32 server_next;
	__u32 server_tsval;
	__u32 server_right;
	__u32 client_acked;
	__u32 capture_to;
	__u32 capture;
	__u32 seq_delta;
	__u32 ts_delta;
	__u32 ts_first;
	__u32 ts_last;
	__u32 present_next;
	__u32 sample_next;
	__u32 sample_index;
	__u32 sample_valid;
	__u32 packets;
	struct bpf_spin_lock lock;
	__u64 client_pos;
	__u64 server_pos;
	__u64 samples[SAMPLES];
	struct key key; /* a freed entry is used again at once: whose it is now */
};

struct record {
	__u32 slot;
	__u32 generation;
	__u32 kind; /* 1: of the client, 2: of the server */
	__u32 len;
	__u64 at;
	__u64 seen;
};

struct segment {
	__u32 header[15]; /* as on the wire */
	__u32 header_len;
	__u32 l4; /* from the start of the frame */
	__u32 seq;
	__u32 ack;
	__u32 len; /* of the data */
	__u16 window;
	__u8 flags;
	__u8 trusted;
	const struct key *key;
};

/* What `begin` has to tell `finish`. */
struct wish {
	__u32 tracked; /* there is more to do than to send the segment on */
	__u32 slot;
	__u32 generation;
};

/* How the header is to be rewritten. */
struct change {
	__u32 mapped;
	__u32 seq;
	__u32 ack;
	__u32 window;
	__u32 stamped;
	__u32 tsval;
	__u32 tsecr;
	__u32 sack; /* subtracted from the edges */
};

struct samples {
	__u32 next; /* what `flow.sample_next` was when the bytes were read */
	__u32 count;
	__u64 bytes[SAMPLES_IN_SEGMENT];
};

static __always_inline bool before(__u32 a, __u32 b)
{
	return (__s32)(a - b) < 0;
}

static __always_inline void raise(__u32 *to, __u32 value)
{
	if (before(*to, value))
		*to = value;
}

/* The first sampling point that is not before `seq`, from one that is. */
static __always_inline __u32 first_sample(__u32 next, __u32 seq)
{
	__u32 missed = (seq - next + SAMPLE_EVERY - 1) / SAMPLE_EVERY;

	return next + missed * SAMPLE_EVERY;
}

/* Whether there is nothing but SACK blocks in words `first`.. of the header. */
static __always_inline bool only_sack(const struct segment *segment, __u32 first, __u32 word)
{
	__u32 len = segment->header_len - first * 4;

	if (!len)
		return true;
	return len >= 12 && bpf_ntohl(word) == (0x01010500 | (len - 2)) && (len - 4) % 8 == 0;
}

/* Whether the options are such as can be handled. */
static __always_inline bool options_known(const struct segment *segment, __u32 stamped)
{
	if (!stamped)
		return only_sack(segment, 5, segment->header[5]);
	return segment->header_len >= 32 && segment->header[5] == bpf_htonl(0x0101080a) &&
	       only_sack(segment, 8, segment->header[8]);
}

static __always_inline bool same(const struct key *a, const struct key *b)
{
	__u32 differ = a->group ^ b->group;

	differ |= a->client_port ^ b->client_port;
	differ |= a->server_port ^ b->server_port;
#pragma unroll
	for (int i = 0; i < 4; i++)
		differ |= (a->client[i] ^ b->client[i]) | (a->server[i] ^ b->server[i]);
	return !differ;
}

static __always_inline enum action begin(struct flow *flow, const struct segment *segment, __u32 side,
					 struct record *record, struct wish *wish)
{
	__u32 stamped = flow->flags & FLAG_STAMPED, len = segment->len, seq = segment->seq, end;
	__u32 tsval = stamped ? bpf_ntohl(segment->header[6]) : 0, logged = flow->flags & FLAG_LOG;

	if (!same(&flow->key, segment->key) || flow->flags & FLAG_PUNTED)
		return PUNT;
	wish->slot = record->slot = flow->slot;
	wish->generation = record->generation = flow->generation;
	wish->tracked = flow->flags & (FLAG_LOG | FLAG_MAPPED) || flow->capture;
	if (!wish->tracked && !(segment->flags & TCP_SYN_FIN_RST))
		return FORWARD;
	if (!segment->trusted || !(segment->flags & TCP_ACK) || segment->flags & ~TCP_PLAIN & 0xff ||
	    !options_known(segment, stamped))
		goto punt;
	wish->tracked = true;
	if (!side) {
		end = seq + len;
		/* Out of window, said before, or before its turn: it may not be said otherwise, which user space compares. */
		if (len && logged && (before(flow->server_right + PROBE, end) || seq != flow->client_next))
			goto punt;
		/* No client's clock goes on while its acknowledgement goes back. */
		if (stamped && before(segment->ack, flow->server_una) && before(flow->client_tsval, tsval))
			goto punt;
		/* What no server would believe teaches nothing; it may be forged. */
		if (!before(end + 1, flow->client_acked) && !before(flow->server_right + PROBE, seq) &&
		    !before(flow->server_next, segment->ack) && !before(segment->ack, flow->server_una)) {
			flow->server_una = segment->ack;
			raise(&flow->client_right,
			      segment->ack + ((__u32)segment->window << (flow->client_scale & 31)));
			if (stamped && !(logged && before(flow->client_next, seq)))
				raise(&flow->client_tsval, tsval);
		}
		if (len && logged && before(flow->client_next, end)) {
			record->kind = 1;
			record->len = len;
			record->at = flow->client_pos + (seq - flow->client_next);
			record->seen = flow->server_pos - (flow->server_next - flow->server_una);
		}
		return FORWARD;
	}
	if (flow->flags & FLAG_MAPPED)
		seq += flow->seq_delta;
	end = seq + len;
	if (!logged && before(flow->client_next, segment->ack)) {
		flow->client_pos += segment->ack - flow->client_next;
		flow->client_next = segment->ack;
	}
	if (len && logged && before(flow->client_right + SLACK, end))
		goto punt;
	/* More acknowledged than was copied out: what filled a gap is known to user space only. */
	if (logged && before(flow->client_next, segment->ack))
		goto punt;
	/* What a replacement repeats from before its client's acknowledgement may be the head of its own answer. */
	if (len && flow->flags & FLAG_MAPPED && before(seq, flow->server_una))
		goto punt;
	if (len && flow->flags & FLAG_CAPTURING && !before(seq, flow->capture_to)) {
		if (!before(flow->server_una, flow->capture_to))
			flow->flags &= ~FLAG_CAPTURING;
	} else if (len && flow->flags & FLAG_CAPTURING) {
		record->kind = 2;
		record->len = (before(end, flow->capture_to) ? end : flow->capture_to) - seq;
		record->at = flow->server_pos + (__s64)(__s32)(seq - flow->server_next);
		record->seen = 0;
	}
	return FORWARD;
punt:
	flow->flags |= FLAG_PUNTED;
	return PUNT;
}

static __always_inline void sample(struct flow *flow, __u32 seq, const struct samples *samples)
{
	/* Another processor was faster: what is not sampled now counts as missed later. */
	if (flow->sample_next != samples->next)
		return;
	if (before(flow->sample_next, seq)) {
		__u32 missed = (seq - flow->sample_next + SAMPLE_EVERY - 1) / SAMPLE_EVERY;
		__u32 places = missed < SAMPLES ? (1u << missed) - 1 : (1u << SAMPLES) - 1;
		__u32 turn = flow->sample_index % SAMPLES;

		places <<= turn;
		flow->sample_valid &= ~(places | places >> SAMPLES);
		flow->sample_index += missed;
		flow->sample_next += missed * SAMPLE_EVERY;
	}
#pragma unroll
	for (__u32 i = 0; i < SAMPLES_IN_SEGMENT; i++) {
		if (i < samples->count) {
			__u32 place = flow->sample_index % SAMPLES;

			flow->samples[place] = samples->bytes[i];
			flow->sample_valid |= 1u << place;
			flow->sample_index++;
			flow->sample_next += SAMPLE_EVERY;
		}
	}
}

static __always_inline enum action finish(struct flow *flow, const struct segment *segment, __u32 side,
					  const struct wish *wish, const struct samples *samples, struct change *change)
{
	__u32 stamped = flow->flags & FLAG_STAMPED, mapped = flow->flags & FLAG_MAPPED;
	__u32 len = segment->len, seq = segment->seq, end, shown, first = flow->ts_first;
	__u32 tsval = stamped ? bpf_ntohl(segment->header[6]) : 0;
	__u32 tsecr = stamped ? bpf_ntohl(segment->header[7]) : 0;

	if (flow->slot != wish->slot || flow->generation != wish->generation || flow->flags & FLAG_PUNTED)
		return PUNT;
	flow->packets++;
	if (!wish->tracked)
		return FORWARD;
	change->mapped = mapped;
	change->stamped = stamped;
	if (!side) {
		end = seq + len;
		if (len && before(flow->client_next, end) && !before(flow->client_next, seq)) {
			flow->client_pos += end - flow->client_next;
			flow->client_next = end;
		}
		if (len && flow->capture) {
			flow->capture_to = flow->server_next + flow->capture;
			flow->flags |= FLAG_CAPTURING;
		}
		if (mapped) {
			__u32 known = segment->ack;

			/* What nobody has sent must not become a number that the server believes. */
			if (before(flow->present_next, known) && !before(flow->server_next, known))
				known = flow->present_next;

			change->seq = seq;
			change->ack = known - flow->seq_delta;
			change->window = segment->window;
			change->sack = flow->seq_delta;
			change->tsval = tsval;
			change->tsecr = tsecr - flow->ts_delta;
			if (before(change->tsecr, first))
				change->tsecr = first;
		}
		return FORWARD;
	}
	if (mapped)
		seq += flow->seq_delta;
	end = seq + len;
	raise(&flow->client_acked, segment->ack);
	raise(&flow->server_right, segment->ack + ((__u32)segment->window << (flow->present_scale & 31)));
	if (len) {
		sample(flow, seq, samples);
		if (before(flow->server_next, end)) {
			flow->server_pos += end - flow->server_next;
			flow->server_next = end;
		}
	}
	shown = tsval;
	if (mapped) {
		__u32 scale = flow->shown_scale & 31, room = 0, field;

		raise(&flow->present_next, end);
		raise(&flow->ts_last, tsval);
		/* A connection may live longer than half the clock's range. */
		raise(&flow->ts_first, flow->ts_last - (1u << 30));
		first = flow->ts_first;
		shown = (before(tsval, first) ? first : tsval) + flow->ts_delta;
		if (!before(flow->server_right, flow->client_acked))
			room = flow->server_right - flow->client_acked;
		field = (room >> scale) + ((room & ((1u << scale) - 1)) != 0);
		if (field > 0xffff)
			field = 0xffff;
		raise(&flow->server_right, flow->client_acked + (field << scale));
		change->seq = seq;
		change->ack = flow->client_acked;
		change->window = field;
		change->tsval = shown;
		change->tsecr = tsecr;
	}
	if (stamped)
		raise(&flow->server_tsval, shown);
	return FORWARD;
}
