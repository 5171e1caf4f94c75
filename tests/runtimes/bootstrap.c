/* A Lambda runtime and what handlers.py does, in C:  cc -O1 -o bootstrap bootstrap.c
 *
 * One connection to $AWS_LAMBDA_RUNTIME_API for everything, and one for each call to FORWARD_TO.
 */

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEAD_MAX 65536

static char head[HEAD_MAX];
static char *body;
static size_t body_length;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static int dial(const char *place) {
    char host[256];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
    const char *colon = strrchr(place, ':');
    snprintf(host, sizeof host, "%.*s", (int)(colon - place), place);
    if (getaddrinfo(host, colon + 1, &hints, &found) != 0) fail("getaddrinfo");
    int peer = socket(found->ai_family, SOCK_STREAM, 0);
    if (connect(peer, found->ai_addr, found->ai_addrlen) != 0) fail("connect");
    freeaddrinfo(found);
    return peer;
}

static void send_all(int peer, const char *data, size_t length) {
    while (length > 0) {
        ssize_t sent = send(peer, data, length, MSG_NOSIGNAL);
        if (sent <= 0) fail("send");
        data += sent;
        length -= (size_t)sent;
    }
}

/* The value of a header of the last reply, which must be there unless `fallback` is given. */
static const char *header(const char *name, char *value, size_t size, const char *fallback) {
    size_t length = strlen(name);
    for (char *line = strstr(head, "\r\n"); line != NULL; line = strstr(line + 2, "\r\n")) {
        if (strncasecmp(line + 2, name, length) == 0 && line[2 + length] == ':') {
            char *start = line + 3 + length + strspn(line + 3 + length, " ");
            snprintf(value, size, "%.*s", (int)strcspn(start, "\r\n"), start);
            return value;
        }
    }
    if (fallback == NULL) fail(name);
    return fallback;
}

/* One request; its reply is in `head` and `body`. */
static void call(int peer, const char *start, const char *data, size_t length) {
    char number[32];
    size_t read_bytes = 0, start_length = strlen(start);
    /* In one piece: two small ones wait for a delayed acknowledgement. */
    char *request = malloc(start_length + length + 1);
    memcpy(request, start, start_length);
    memcpy(request + start_length, data, length);
    send_all(peer, request, start_length + length);
    free(request);
    char *end = NULL;
    while (end == NULL) {
        if (read_bytes + 1 >= HEAD_MAX) fail("a head that long");
        ssize_t got = recv(peer, head + read_bytes, 1, 0);
        if (got <= 0) exit(0); /* the Runtime API is closed */
        read_bytes += (size_t)got;
        head[read_bytes] = 0;
        if (read_bytes >= 4) end = strstr(head + read_bytes - 4, "\r\n\r\n");
    }
    body_length = strtoul(header("Content-Length", number, sizeof number, "0"), NULL, 10);
    body = realloc(body, body_length + 1);
    for (size_t got = 0; got < body_length;) {
        ssize_t more = recv(peer, body + got, body_length - got, 0);
        if (more <= 0) fail("recv");
        got += (size_t)more;
    }
    body[body_length] = 0;
}

/* Replace the event in `body` by the response to it; whether the function failed. */
static int handle(void) {
    char start[1024], host[256], value[64];
    const char *url = getenv("FORWARD_TO"), *wait = getenv("WAIT_MS");
    if (url == NULL) {
        usleep((useconds_t)(wait == NULL ? 0 : atoi(wait)) * 1000);
        body_length = (size_t)sprintf(body, "{}");
        return 0;
    }
    url += strlen("http://");
    const char *path = strchr(url, '/');
    snprintf(host, sizeof host, "%.*s", (int)(path - url), url);
    snprintf(start, sizeof start,
             "POST %s HTTP/1.1\r\nHost: %s\r\nX-Runtime: %d\r\nContent-Length: %zu\r\n\r\n", path,
             host, (int)getpid(), body_length);
    char *event = body;
    body = NULL;
    int peer = dial(host);
    call(peer, start, event, body_length);
    close(peer);
    free(event);
    return strcmp(header("X-Amz-Function-Error", value, sizeof value, ""), "") != 0;
}

int main(void) {
    char start[512], id[128];
    const char *api = getenv("AWS_LAMBDA_RUNTIME_API");
    int peer = dial(api);
    for (;;) {
        snprintf(start, sizeof start,
                 "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: %s\r\n\r\n", api);
        call(peer, start, "", 0);
        header("Lambda-Runtime-Aws-Request-Id", id, sizeof id, NULL);
        const char *outcome = handle() ? "error" : "response";
        snprintf(start, sizeof start,
                 "POST /2018-06-01/runtime/invocation/%s/%s HTTP/1.1\r\nHost: %s\r\n"
                 "Content-Length: %zu\r\n\r\n",
                 id, outcome, api, body_length);
        char *response = body;
        body = NULL;
        call(peer, start, response, body_length);
        free(response);
    }
}
