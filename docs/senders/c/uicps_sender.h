/* Reference sender for the UICPS UDP telemetry protocol, version 1: see docs/udp-protocol.md.
 *
 * For microcontrollers: C99, no malloc, no socket, no clock. You give it samples and datagrams that
 * came, and send the bytes that it makes. All times are milliseconds of a clock that starts at boot and
 * may wrap. One call at a time: it is not for several threads at once.
 *
 *     uicps_init(&sender, key, points, 2, boot_id);      boot_id: a counter in flash, one more each boot
 *     for (;;) {
 *         uicps_sample(&sender, values, UICPS_GOOD, now_ms());
 *         while ((size = uicps_datagram(&sender, now_ms(), 0, out, sizeof out)) > 0) send(out, size);
 *         if ((size = receive(in)) > 0 && (size = uicps_receive(&sender, in, size, out, sizeof out)) > 0)
 *             send(out, size);
 *     }
 */
#ifndef UICPS_SENDER_H
#define UICPS_SENDER_H

#include <stddef.h>
#include <stdint.h>

#ifndef UICPS_POINTS_MAX
#define UICPS_POINTS_MAX 16
#endif
#ifndef UICPS_RING /* samples that are kept until they are acknowledged; at most 8192 */
#define UICPS_RING 64
#endif
#define UICPS_DATAGRAM_MAX 1400 /* fits an Ethernet frame: never fragmented */

enum { UICPS_BAD = 0, UICPS_UNCERTAIN = 1, UICPS_GOOD = 2 };
enum {
    UICPS_DONE = 0,
    UICPS_NO_SUCH_POINT = 1,
    UICPS_BAD_VALUE = 2,
    UICPS_FAILED = 3,
    UICPS_OTHER_BOOT = 4,
    UICPS_OLD = 5
};

typedef struct {
    uint32_t number, sampled_ms, sent_ms, sent_seq;
    uint8_t quality, sent, arrived;
    float values[UICPS_POINTS_MAX];
} uicps_sample_t;

/* Carry out a command: write `value` to point number `point` and say in `*now` what it has now. */
typedef uint8_t (*uicps_command_t)(void *context, uint16_t point, double value, double *now);

typedef struct {
    /* To be set after uicps_init, before the first sample, if the default does not suit. */
    uint8_t repeat;            /* k: each datagram has the last k samples; 3 */
    uint8_t wants_ack;         /* it listens: unacknowledged samples are sent again; 1 */
    uint16_t valid_s;          /* how long values stand without news; 0: as the gateway has it */
    uint32_t resend_ms;        /* without any answer, send again after so long; 3000 */
    uicps_command_t command;   /* carries out commands; 0: there is nothing to command */
    void *context;

    /* Its own. */
    uint8_t key[32];
    uint32_t key_id, layout_id, boot, seq, answered_seq;
    uint32_t first, next; /* samples first .. next - 1 are in the ring */
    uint16_t points;
    uint8_t beat, command_status;
    uint64_t command_id;
    double command_value;
    uicps_sample_t ring[UICPS_RING];
} uicps_sender_t;

/* `names` are the keys of the profile's points in its order; `boot` must be larger at every boot. */
void uicps_init(uicps_sender_t *sender, const uint8_t key[32], const char *const *names, uint16_t points,
                uint32_t boot);

/* Keep a sample of all points (NAN: not available). The oldest goes if the ring is full. */
void uicps_sample(uicps_sender_t *sender, const float *values, uint8_t quality, uint32_t now_ms);

/* The next datagram to send, its size, or 0 if there is nothing to say now. `unix_ms` is the Unix time
 * in ms, 0 if the clock has not been set. */
size_t uicps_datagram(uicps_sender_t *sender, uint32_t now_ms, uint64_t unix_ms, uint8_t *out, size_t size);

/* Let uicps_datagram make one even if there is nothing new: "I am here, what have you got for me?" */
void uicps_beat(uicps_sender_t *sender);

/* Take in a datagram that came. The size of the answer in `out`, 0 if none is due. */
size_t uicps_receive(uicps_sender_t *sender, const uint8_t *data, size_t data_size, uint8_t *out, size_t size);

/* Samples that are not known to have arrived. */
uint32_t uicps_pending(const uicps_sender_t *sender);

#endif
