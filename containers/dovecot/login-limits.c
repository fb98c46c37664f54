/* A Dovecot plugin (login_limits): bounds the connections that have not logged in yet.
 *
 * One process holds all connections of a protocol, those of users who are in and those of strangers
 * who only hold the door; Dovecot itself bounds both together (client_limit), without a look at who
 * they are. A connection before login costs some 100 KB (TLS, and up to 8 KB of what was sent): 444 of
 * them had the kernel kill the process, and with it everybody's connection.
 *
 * Here a network may have so many connections before login, and all together so many. Beyond that the
 * oldest one goes, of that network or of the one that has the most: who logs in is done within a
 * second, who holds the door is the oldest. Whoever is in, or waits only for the mail process, is left
 * alone. A network is an IPv4 address, or an IPv6 one's first 64 bits, which is the least that anybody has.
 *
 * DIAGNOSTICS: "Login aborted: Too many connections before login" with the address that it went to.
 * tests/service/test_door.py fails without it.
 */
#include "login-common.h"
#include "client-common.h"
#include "module-dir.h"

void login_limits_plugin_init(struct module *module);
void login_limits_plugin_deinit(void);

const char *login_limits_plugin_version = DOVECOT_ABI_VERSION;

struct limits {
	unsigned int network, all;
};

/* All clients of a firm come at once after a restart, from one address; a second hash waits for the
   first one, so fifty of them need a few seconds. */
static const struct limits imap_limits = { .network = 60, .all = 120 };
/* A filter editor has one connection. */
static const struct limits other_limits = { .network = 10, .all = 30 };

static const struct limits *limits;

static bool same_network(const struct client *one, const struct client *other)
{
	const struct ip_addr *a = &one->real_remote_ip, *b = &other->real_remote_ip;

	if (a->family != b->family)
		return FALSE;
	if (a->family == AF_INET6)
		return memcmp(&a->u.ip6, &b->u.ip6, 8) == 0;
	return net_ip_compare(a, b);
}

/* Connections before login of a client's network; the oldest of them that may go, if any. */
static unsigned int network_count(const struct client *of, struct client **oldest_r)
{
	struct client *client;
	unsigned int count = 0;

	*oldest_r = NULL;
	/* The newest is the first. */
	for (client = clients; client != NULL; client = client->next) {
		if (!same_network(client, of))
			continue;
		count++;
		if (client->create_finished && client->master_tag == 0)
			*oldest_r = client;
	}
	return count;
}

/* The oldest connection that may go of the network that has the most. */
static struct client *oldest_of_the_most(void)
{
	struct client *client, *oldest, *found = NULL;
	unsigned int count, most = 0;

	for (client = clients; client != NULL; client = client->next) {
		count = network_count(client, &oldest);
		/* Among equals the one that was met last has the oldest connection. */
		if (oldest != NULL && count >= most) {
			most = count;
			found = oldest;
		}
	}
	return found;
}

static void send_away(struct client *client)
{
	client_notify_disconnect(client, CLIENT_DISCONNECT_TIMEOUT,
				 "Too many connections before login.");
	client_destroy(client, "Too many connections before login");
}

static void client_allocated(struct client *client)
{
	struct client *oldest, *each;
	unsigned int all = 0;

	if (network_count(client, &oldest) > limits->network && oldest != NULL)
		send_away(oldest);
	for (each = clients; each != NULL; each = each->next)
		all++;
	if (all > limits->all && (oldest = oldest_of_the_most()) != NULL)
		send_away(oldest);
}

static const struct login_client_hooks hooks = {
	.client_allocated = client_allocated,
};

void login_limits_plugin_init(struct module *module)
{
	bool imap = strcmp(login_binary->protocol, "imap") == 0;

	limits = imap ? &imap_limits : &other_limits;
	login_client_hooks_add(module, &hooks);
}

void login_limits_plugin_deinit(void)
{
	login_client_hooks_remove(&hooks);
}
