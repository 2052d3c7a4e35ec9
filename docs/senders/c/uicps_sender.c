/* See uicps_sender.h and docs/udp-protocol.md. */
#include "uicps_sender.h"

#include <string.h>

typedef char doubles_have_64_bits[sizeof(double) == 8 ? 1 : -1]; /* avr-gcc: -mdouble=64 */

enum { TYPE_DATA = 1, TYPE_ACK = 2, TYPE_COMMAND = 3, TYPE_RESULT = 4 };
enum { HEAD = 16, DATA_HEAD = 36, TAG = 16, WANTS_ACK = 1 };

/* ------------------------------------------------------------------ SHA-256 (FIPS 180-4) */

typedef struct {
    uint32_t state[8];
    uint64_t bytes;
    uint8_t block[64];
} sha256_t;

static const uint32_t ROUND[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t rotated(uint32_t word, int by) { return word >> by | word << (32 - by); }

static void sha256_begin(sha256_t *hash)
{
    static const uint32_t start[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    memcpy(hash->state, start, sizeof start);
    hash->bytes = 0;
}

static void sha256_block(sha256_t *hash)
{
    uint32_t w[64], s[8];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)hash->block[4 * i] << 24 | (uint32_t)hash->block[4 * i + 1] << 16 |
               (uint32_t)hash->block[4 * i + 2] << 8 | hash->block[4 * i + 3];
    for (int i = 16; i < 64; i++) {
        uint32_t a = w[i - 15], b = w[i - 2];
        w[i] = w[i - 16] + (rotated(a, 7) ^ rotated(a, 18) ^ a >> 3) + w[i - 7] +
               (rotated(b, 17) ^ rotated(b, 19) ^ b >> 10);
    }
    memcpy(s, hash->state, sizeof s);
    for (int i = 0; i < 64; i++) {
        uint32_t t = s[7] + (rotated(s[4], 6) ^ rotated(s[4], 11) ^ rotated(s[4], 25)) +
                     ((s[4] & s[5]) ^ (~s[4] & s[6])) + ROUND[i] + w[i];
        uint32_t u = (rotated(s[0], 2) ^ rotated(s[0], 13) ^ rotated(s[0], 22)) +
                     ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
        memmove(s + 1, s, 7 * sizeof *s);
        s[4] += t;
        s[0] = t + u;
    }
    for (int i = 0; i < 8; i++)
        hash->state[i] += s[i];
}

static void sha256_add(sha256_t *hash, const void *data, size_t size)
{
    const uint8_t *byte = data;
    while (size--) {
        hash->block[hash->bytes++ % 64] = *byte++;
        if (hash->bytes % 64 == 0)
            sha256_block(hash);
    }
}

static void sha256_end(sha256_t *hash, uint8_t digest[32])
{
    static const uint8_t one = 0x80, zero = 0;
    uint64_t bits = hash->bytes * 8;
    uint8_t length[8];
    for (int i = 0; i < 8; i++)
        length[i] = (uint8_t)(bits >> (56 - 8 * i));
    sha256_add(hash, &one, 1);
    while (hash->bytes % 64 != 56)
        sha256_add(hash, &zero, 1);
    sha256_add(hash, length, 8);
    for (int i = 0; i < 32; i++)
        digest[i] = (uint8_t)(hash->state[i / 4] >> (24 - 8 * (i % 4)));
}

/* HMAC-SHA-256 of `data`, cut to 128 bits. */
static void make_tag(const uint8_t key[32], const uint8_t *data, size_t size, uint8_t tag[TAG])
{
    sha256_t hash;
    uint8_t pad[64], digest[32];
    for (int i = 0; i < 64; i++)
        pad[i] = (i < 32 ? key[i] : 0) ^ 0x36;
    sha256_begin(&hash);
    sha256_add(&hash, pad, 64);
    sha256_add(&hash, data, size);
    sha256_end(&hash, digest);
    for (int i = 0; i < 64; i++)
        pad[i] ^= 0x36 ^ 0x5c;
    sha256_begin(&hash);
    sha256_add(&hash, pad, 64);
    sha256_add(&hash, digest, 32);
    sha256_end(&hash, digest);
    memcpy(tag, digest, TAG);
}

/* ------------------------------------------------------------------ numbers, little-endian */

static void put(uint8_t *to, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        to[i] = (uint8_t)(value >> 8 * i);
}

static uint64_t get(const uint8_t *from, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++)
        value |= (uint64_t)from[i] << 8 * i;
    return value;
}

static void put_float(uint8_t *to, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, 4);
    put(to, bits, 4);
}

static void put_head(const uicps_sender_t *sender, uint8_t *out, uint8_t type, uint32_t number)
{
    memcpy(out, "UT\1", 3);
    out[3] = type;
    put(out + 4, sender->key_id, 4);
    put(out + 8, sender->boot, 4);
    put(out + 12, number, 4);
}

static size_t signed_(const uicps_sender_t *sender, uint8_t *out, size_t size)
{
    make_tag(sender->key, out, size, out + size);
    return size + TAG;
}

/* ------------------------------------------------------------------ samples out */

static uicps_sample_t *at(uicps_sender_t *sender, uint32_t number)
{
    return &sender->ring[number % UICPS_RING];
}

void uicps_init(uicps_sender_t *sender, const uint8_t key[32], const char *const *names, uint16_t points,
                uint32_t boot)
{
    sha256_t hash;
    uint8_t digest[32];
    memset(sender, 0, sizeof *sender);
    memcpy(sender->key, key, 32);
    sender->points = points < UICPS_POINTS_MAX ? points : UICPS_POINTS_MAX;
    sender->boot = boot;
    sender->repeat = 3;
    sender->wants_ack = 1;
    sender->resend_ms = 3000;
    sender->first = sender->next = 1;
    sha256_begin(&hash);
    sha256_add(&hash, "uicps key id", 12);
    sha256_add(&hash, key, 32);
    sha256_end(&hash, digest);
    sender->key_id = (uint32_t)get(digest, 4);
    sha256_begin(&hash);
    for (uint16_t i = 0; i < sender->points; i++) {
        if (i)
            sha256_add(&hash, "\n", 1);
        sha256_add(&hash, names[i], strlen(names[i]));
    }
    sha256_end(&hash, digest);
    sender->layout_id = (uint32_t)get(digest, 4);
}

void uicps_sample(uicps_sender_t *sender, const float *values, uint8_t quality, uint32_t now_ms)
{
    if (sender->next - sender->first == UICPS_RING)
        sender->first++;
    uicps_sample_t *sample = at(sender, sender->next);
    memset(sample, 0, sizeof *sample);
    sample->number = sender->next++;
    sample->sampled_ms = now_ms;
    sample->quality = quality;
    memcpy(sample->values, values, sender->points * sizeof *values);
}

void uicps_beat(uicps_sender_t *sender) { sender->beat = 1; }

static int is_due(const uicps_sender_t *sender, const uicps_sample_t *sample, uint32_t now_ms)
{
    if (sample->arrived)
        return 0;
    return !sample->sent || (sender->wants_ack && now_ms - sample->sent_ms >= sender->resend_ms);
}

static uint8_t *put_sample(const uicps_sender_t *sender, uicps_sample_t *sample, uint32_t now_ms, uint8_t *out)
{
    put(out, sample->number, 4);
    put(out + 4, now_ms - sample->sampled_ms, 4);
    out[8] = sample->quality;
    out += 9;
    for (uint16_t i = 0; i < sender->points; i++, out += 4)
        put_float(out, sample->values[i]);
    sample->sent = 1;
    sample->sent_ms = now_ms;
    sample->sent_seq = sender->seq;
    return out;
}

size_t uicps_datagram(uicps_sender_t *sender, uint32_t now_ms, uint64_t unix_ms, uint8_t *out, size_t size)
{
    const size_t each = 9 + 4 * (size_t)sender->points;
    uint32_t kept = sender->next - sender->first, due = 0, count = 0, oldest = sender->first;
    size_t limit = size < UICPS_DATAGRAM_MAX ? size : UICPS_DATAGRAM_MAX;
    if (limit < DATA_HEAD + TAG + each || sender->seq == UINT32_MAX)
        return 0; /* after 2^32 datagrams: restart, with a new boot id */
    for (uint32_t number = sender->first; number != sender->next; number++)
        due += (uint32_t)is_due(sender, at(sender, number), now_ms);
    if (!due && !sender->beat)
        return 0;
    uint32_t room = (uint32_t)((limit - DATA_HEAD - TAG) / each);
    uint32_t last = sender->repeat < kept ? sender->repeat : kept;
    room = room > 255 ? 255 : room;
    last = last < room ? last : room;
    sender->seq++;
    sender->beat = 0;
    uint8_t *end = out + DATA_HEAD;
    for (uint32_t number = sender->first; number != sender->next; number++) {
        uicps_sample_t *sample = at(sender, number);
        int is_last = sender->next - number <= last;
        if (!is_last && (count + last >= room || !is_due(sender, sample, now_ms)))
            continue;
        if (!count && !sender->wants_ack)
            oldest = number; /* nothing before it will come any more */
        end = put_sample(sender, sample, now_ms, end);
        count++;
    }
    put_head(sender, out, TYPE_DATA, sender->seq);
    put(out + 16, sender->layout_id, 4);
    put(out + 20, oldest, 4);
    put(out + 24, unix_ms, 8);
    put(out + 32, sender->valid_s, 2);
    out[34] = sender->wants_ack ? WANTS_ACK : 0;
    out[35] = (uint8_t)count;
    return signed_(sender, out, (size_t)(end - out));
}

uint32_t uicps_pending(const uicps_sender_t *sender)
{
    uint32_t pending = 0;
    for (uint32_t number = sender->first; number != sender->next; number++)
        pending += !sender->ring[number % UICPS_RING].arrived;
    return pending;
}

/* ------------------------------------------------------------------ answers and commands in */

static void take_ack(uicps_sender_t *sender, const uint8_t *data, size_t size)
{
    uint32_t seq = (uint32_t)get(data + 12, 4), safe, complete;
    if (size < HEAD + 8 + TAG || seq <= sender->answered_seq || seq > sender->seq)
        return; /* an old one, sent again by somebody */
    sender->answered_seq = seq;
    safe = (uint32_t)get(data + HEAD, 4);
    complete = (uint32_t)get(data + HEAD + 4, 4);
    const uint8_t *bits = data + HEAD + 8;
    uint32_t known = 8 * (uint32_t)(size - HEAD - 8 - TAG);
    while (sender->first != sender->next && sender->first < safe)
        sender->first++;
    for (uint32_t number = sender->first; number != sender->next; number++) {
        uicps_sample_t *sample = at(sender, number);
        uint32_t bit = number - complete;
        if (number >= complete && bit >= known)
            break;
        if (number < complete || bits[bit / 8] >> bit % 8 & 1)
            sample->arrived = 1;
        else if (sample->sent_seq < seq)
            sample->sent = 0; /* lost on its way: it is due again */
    }
}

static size_t take_command(uicps_sender_t *sender, const uint8_t *data, size_t size, uint8_t *out)
{
    uint64_t id, bits;
    double value, now = 0;
    uint8_t status;
    if (size != HEAD + 22 + TAG)
        return 0;
    id = get(data + HEAD, 8);
    if (get(data + 8, 4) != sender->boot) {
        status = UICPS_OTHER_BOOT;
    } else if (id <= sender->command_id) {
        status = id == sender->command_id ? sender->command_status : UICPS_OLD;
        now = sender->command_value;
    } else {
        uint16_t point = (uint16_t)get(data + HEAD + 12, 2);
        bits = get(data + HEAD + 14, 8);
        memcpy(&value, &bits, 8);
        sender->command_id = id; /* before it is carried out: at most once */
        status = UICPS_NO_SUCH_POINT;
        if (get(data + HEAD + 8, 4) == sender->layout_id && point < sender->points && sender->command)
            status = sender->command(sender->context, point, value, &now);
        sender->command_status = status;
        sender->command_value = now;
    }
    put_head(sender, out, TYPE_RESULT, 0);
    put(out + HEAD, id, 8);
    out[HEAD + 8] = status;
    memcpy(&bits, &now, 8);
    put(out + HEAD + 9, bits, 8);
    return signed_(sender, out, HEAD + 17);
}

size_t uicps_receive(uicps_sender_t *sender, const uint8_t *data, size_t data_size, uint8_t *out, size_t size)
{
    uint8_t tag[TAG], differing = 0;
    if (data_size < HEAD + TAG || data_size > UICPS_DATAGRAM_MAX || memcmp(data, "UT\1", 3) != 0 ||
        get(data + 4, 4) != sender->key_id)
        return 0;
    make_tag(sender->key, data, data_size - TAG, tag);
    for (size_t i = 0; i < TAG; i++)
        differing |= tag[i] ^ data[data_size - TAG + i];
    if (differing)
        return 0;
    if (data[3] == TYPE_ACK && get(data + 8, 4) == sender->boot)
        take_ack(sender, data, data_size);
    if (data[3] == TYPE_COMMAND && size >= HEAD + 17 + TAG)
        return take_command(sender, data, data_size, out);
    return 0;
}
