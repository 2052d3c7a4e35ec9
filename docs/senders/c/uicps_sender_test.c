/* A module on a POSIX machine: what the agent's own tests run against the agent, and an example.
 *
 *     cc -std=c99 -o uicps_sender_test uicps_sender_test.c uicps_sender.c
 *     ./uicps_sender_test HOST PORT KEY_HEX BOOT SAMPLES INTERVAL_US REPEAT WANTS_ACK LINGER_S
 *
 * Samples are (n, n / 4) for n = 1, 2, ...; a command to point 1 is printed and carried out.
 */
#define _POSIX_C_SOURCE 200809L
#include "uicps_sender.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

static uint32_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint32_t)(now.tv_sec * 1000 + now.tv_nsec / 1000000);
}

static uint64_t unix_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static uint8_t carry_out(void *context, uint16_t point, double value, double *now)
{
    (void)context;
    if (point != 1)
        return UICPS_NO_SUCH_POINT;
    if (value < 16 || value > 30)
        return UICPS_BAD_VALUE;
    printf("command %u %g\n", point, value);
    fflush(stdout);
    *now = value;
    return UICPS_DONE;
}

static void exchange(uicps_sender_t *sender, int socket_)
{
    uint8_t in[UICPS_DATAGRAM_MAX], out[UICPS_DATAGRAM_MAX];
    size_t size;
    ssize_t came;
    while ((size = uicps_datagram(sender, now_ms(), unix_ms(), out, sizeof out)) > 0)
        if (send(socket_, out, size, 0) < 0)
            break;
    while ((came = recv(socket_, in, sizeof in, MSG_DONTWAIT)) > 0)
        if ((size = uicps_receive(sender, in, (size_t)came, out, sizeof out)) > 0)
            if (send(socket_, out, size, 0) < 0)
                break;
}

static void wait_us(long us)
{
    struct timespec pause = {us / 1000000, us % 1000000 * 1000};
    nanosleep(&pause, 0);
}

int main(int argc, char **argv)
{
    static const char *const names[] = {"temperature", "setpoint"};
    static uicps_sender_t sender;
    uint8_t key[32];
    if (argc != 10)
        return 2;
    for (int i = 0; i < 32; i++) {
        unsigned byte;
        if (sscanf(argv[3] + 2 * i, "%2x", &byte) != 1)
            return 2;
        key[i] = (uint8_t)byte;
    }
    struct sockaddr_in gateway = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[2]))};
    int socket_ = socket(AF_INET, SOCK_DGRAM, 0);
    if (inet_pton(AF_INET, argv[1], &gateway.sin_addr) != 1 ||
        connect(socket_, (struct sockaddr *)&gateway, sizeof gateway) < 0)
        return 1;
    uicps_init(&sender, key, names, 2, (uint32_t)strtoul(argv[4], 0, 10));
    sender.repeat = (uint8_t)atoi(argv[7]);
    sender.wants_ack = (uint8_t)atoi(argv[8]);
    sender.resend_ms = 300;
    sender.command = carry_out;
    for (long n = 1; n <= atol(argv[5]); n++) {
        float values[2] = {(float)n, (float)n / 4};
        uicps_sample(&sender, values, UICPS_GOOD, now_ms());
        exchange(&sender, socket_);
        wait_us(atol(argv[6]));
    }
    for (uint32_t began = now_ms(); now_ms() - began < 1000 * (uint32_t)atoi(argv[9]); wait_us(50000)) {
        uicps_beat(&sender);
        exchange(&sender, socket_);
    }
    printf("pending %u sent %u\n", (unsigned)uicps_pending(&sender), (unsigned)sender.seq);
    return 0;
}
