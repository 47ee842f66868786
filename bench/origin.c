/*
 * The app behind every proxy of the bench: one thread, epoll, answers made at start. It shares a core with the load
 * generator, so it must cost less than any proxy that is measured. It promises to read an upload to its last byte
 * before it answers, and to count what it read. It does not promise to be an HTTP server: no chunked request bodies,
 * no pipelining of bodies, heads up to 32 KiB.
 *
 *   origin PORT [PAGE_BYTES]    listens on 127.0.0.1:PORT; PAGE_BYTES: size of its own /metrics page
 *
 *   /10k  /1m       answers of 10 KiB and 1 MiB
 *   /upload         reads the body, answers how many bytes it was
 *   /metrics        a page of counters, PAGE_BYTES long
 *   /stats          what was counted so far: requests, bytes of bodies read
 *   anything else   41 bytes
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define HEAD_BYTES_MAX 32768
#define FDS_MAX 65536
#define SMALL_BODY "{\"status\":\"ok\",\"message\":\"hello, world!\"}"
_Static_assert(sizeof(SMALL_BODY) - 1 == 41, "the small answer has 41 bytes");

struct answer {
	char *bytes;
	size_t length;
};

struct client {
	char head[HEAD_BYTES_MAX];
	size_t head_length;
	unsigned long long body_left, body_read;
	int in_upload, must_close, wants_out;
	struct answer out; /* what is being written */
	size_t out_offset;
	char own[512]; /* an answer made for this request alone */
};

static struct client *clients[FDS_MAX];
static struct answer small, ten_kib, one_mib, page;
static unsigned long long requests_seen, body_bytes_seen;
static int poller;

static struct answer make_answer(const char *type, const char *body, size_t length) {
	struct answer answer;
	answer.bytes = malloc(length + 256);
	int head = sprintf(answer.bytes,
	                   "HTTP/1.1 200 OK\r\ncontent-type: %s\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\n"
	                   "content-length: %zu\r\n\r\n",
	                   type, length);
	memcpy(answer.bytes + head, body, length);
	answer.length = head + length;
	return answer;
}

static struct answer make_filled(size_t length) {
	char *body = malloc(length);
	memset(body, 'x', length);
	struct answer answer = make_answer("application/octet-stream", body, length);
	free(body);
	return answer;
}

/* A page as an app would write it: families of 100 samples with two labels each. */
static struct answer make_page(size_t length) {
	char *body = malloc(length + 512);
	size_t at = 0;
	for (unsigned long n = 0; at < length; n++) {
		if (n % 100 == 0)
			at += sprintf(body + at, "# HELP app_work_%lu_total Work done.\n# TYPE app_work_%lu_total counter\n", n / 100,
			              n / 100);
		at += sprintf(body + at, "app_work_%lu_total{shard=\"%lu\",kind=\"some_kind_of_work\"} %lu\n", n / 100, n % 100,
		              n * 7919 % 100003);
	}
	struct answer answer = make_answer("text/plain; version=0.0.4; charset=utf-8", body, at);
	free(body);
	return answer;
}

static void drop(int fd) {
	free(clients[fd]);
	clients[fd] = NULL;
	close(fd);
}

static void answer_own(struct client *c, const char *format, unsigned long long a, unsigned long long b) {
	char body[128];
	int length = snprintf(body, sizeof body, format, a, b);
	c->out.length = snprintf(c->own, sizeof c->own,
	                         "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s", length, body);
	c->out.bytes = c->own;
}

/* 1: all written; 0: the socket is full, EPOLLOUT will follow; -1: the client is gone */
static int write_out(int fd, struct client *c) {
	while (c->out_offset < c->out.length) {
		ssize_t n = send(fd, c->out.bytes + c->out_offset, c->out.length - c->out_offset, MSG_NOSIGNAL);
		if (n < 0) {
			if (errno != EAGAIN) return -1;
			if (!c->wants_out) {
				struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.fd = fd};
				epoll_ctl(poller, EPOLL_CTL_MOD, fd, &event);
				c->wants_out = 1;
			}
			return 0;
		}
		c->out_offset += n;
	}
	c->out.length = c->out_offset = 0;
	if (c->wants_out) {
		struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
		epoll_ctl(poller, EPOLL_CTL_MOD, fd, &event);
		c->wants_out = 0;
	}
	return c->must_close ? -1 : 1;
}

static int path_is(const char *target, const char *path) {
	size_t length = strlen(path);
	return strncmp(target, path, length) == 0 && (target[length] == ' ' || target[length] == '?');
}

/* Reads the fields of a whole head: which answer, how much body. */
static void take_head(struct client *c, char *end) {
	unsigned long long length = 0;
	requests_seen++;
	for (char *line = strstr(c->head, "\r\n"); line && line < end; line = strstr(line, "\r\n")) {
		line += 2;
		if (strncasecmp(line, "content-length:", 15) == 0) length = strtoull(line + 15, NULL, 10);
		if (strncasecmp(line, "connection: close", 17) == 0) c->must_close = 1;
		if (strncasecmp(line, "transfer-encoding:", 18) == 0) c->must_close = 1;
	}
	char *target = strchr(c->head, ' ');
	target = target ? target + 1 : c->head;
	c->in_upload = path_is(target, "/upload");
	c->body_left = length;
	c->body_read = 0;
	if (path_is(target, "/10k")) c->out = ten_kib;
	else if (path_is(target, "/1m")) c->out = one_mib;
	else if (path_is(target, "/metrics")) c->out = page;
	else if (path_is(target, "/stats")) answer_own(c, "{\"requests\":%llu,\"bodyBytes\":%llu}\n", requests_seen - 1, body_bytes_seen);
	else c->out = small;
}

static int serve(int fd, struct client *c) {
	for (;;) {
		if (c->out.length && !c->body_left) {
			if (c->in_upload && c->out_offset == 0) {
				answer_own(c, "{\"read\":%llu}\n", c->body_read, 0);
				c->in_upload = 0;
			}
			int written = write_out(fd, c);
			if (written != 1) return written;
		}
		if (c->body_left) {
			/* MSG_TRUNC takes TCP bytes off the socket without copying them: they are read, and counted, but cost little. */
			size_t want = c->body_left > 1 << 20 ? 1 << 20 : c->body_left;
			ssize_t n = recv(fd, NULL, want, MSG_TRUNC);
			if (n < 0) return errno == EAGAIN ? 0 : -1;
			if (n == 0) return -1;
			c->body_left -= n;
			c->body_read += n;
			body_bytes_seen += n;
			continue;
		}
		char *end = c->head_length ? strstr(c->head, "\r\n\r\n") : NULL;
		if (end) {
			take_head(c, end + 2);
			size_t used = end + 4 - c->head;
			size_t rest = c->head_length - used;
			size_t body = rest < c->body_left ? rest : c->body_left;
			c->body_left -= body;
			c->body_read += body;
			body_bytes_seen += body;
			memmove(c->head, c->head + used + body, rest - body);
			c->head_length = rest - body;
			c->head[c->head_length] = 0;
			continue;
		}
		if (c->head_length >= HEAD_BYTES_MAX - 1) return -1;
		ssize_t n = recv(fd, c->head + c->head_length, HEAD_BYTES_MAX - 1 - c->head_length, 0);
		if (n < 0) return errno == EAGAIN ? 0 : -1;
		if (n == 0) return -1;
		c->head_length += n;
		c->head[c->head_length] = 0;
	}
}

int main(int argc, char **argv) {
	if (argc < 2) {
		fprintf(stderr, "usage: origin PORT [PAGE_BYTES]\n");
		return 64;
	}
	signal(SIGPIPE, SIG_IGN);
	struct rlimit files;
	getrlimit(RLIMIT_NOFILE, &files);
	files.rlim_cur = files.rlim_max;
	setrlimit(RLIMIT_NOFILE, &files);

	small = make_answer("application/json", SMALL_BODY, sizeof(SMALL_BODY) - 1);
	ten_kib = make_filled(10 << 10);
	one_mib = make_filled(1 << 20);
	page = make_page(argc > 2 ? strtoull(argv[2], NULL, 10) : 4096);

	int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1])), .sin_addr = {htonl(INADDR_LOOPBACK)}};
	if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 16384)) {
		perror("origin: bind");
		return 1;
	}
	poller = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
	epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);

	for (;;) {
		struct epoll_event events[256];
		int n = epoll_wait(poller, events, 256, -1);
		for (int i = 0; i < n; i++) {
			int fd = events[i].data.fd;
			if (fd != listener) {
				if (serve(fd, clients[fd]) < 0) drop(fd);
				continue;
			}
			for (;;) {
				int accepted = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
				if (accepted < 0) break;
				if (accepted >= FDS_MAX) {
					close(accepted);
					continue;
				}
				setsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
				clients[accepted] = malloc(sizeof(struct client));
				struct client *c = clients[accepted];
				c->head[0] = 0;
				c->head_length = c->out.length = c->out_offset = 0;
				c->body_left = c->body_read = 0;
				c->in_upload = c->must_close = c->wants_out = 0;
				struct epoll_event added = {.events = EPOLLIN, .data.fd = accepted};
				epoll_ctl(poller, EPOLL_CTL_ADD, accepted, &added);
			}
		}
	}
}
