/* A Dovecot plugin (login_limits): limits connections before login, and the sessions of each user.
 *
 * Before login: one process holds all connections of a protocol, those of logged-in users and those of strangers. A
 * connection before login takes about 100 KB (TLS, and up to 8 KB of input). Dovecot itself only limits their total
 * (client_limit); in a test 444 connections before login made the kernel kill the process, and with it everybody's
 * connection.
 *
 * The plugin limits the connections before login of each network and of all networks together. Beyond a limit it
 * closes the oldest one, of that network or of the network that has the most: a client logs in within a second, so the
 * oldest connections are those that never log in. It never closes the connection of a client that is logged in or
 * waits for its mail process. A network is an IPv4 address or an IPv6 /64, because a subscriber has a whole /64.
 *
 * After login: it limits the sessions of a user from all addresses, so that a thief with one password
 * and many addresses cannot use up all processes. Dovecot's own mail_max_userip_connections counts each
 * address separately. This process holds the TLS of all sessions, so it can count them.
 *
 * Only the web container connects through a socket (web.conf). The plugin trusts it as login_trusted_networks would,
 * which accepts networks only. Its connections count as those of one network, and its own processes limit them.
 *
 * DIAGNOSTICS: "Login aborted: Too many connections before login" with the client's address;
 * "Login aborted: The user has N sessions already", to the client NO [LIMIT].
 * tests/service/test_door.py and test_limits.py fail without it.
 */
#include <sys/socket.h>
#include "login-common.h"
#include "client-common.h"
#include "auth-client.h"
#include "ioloop.h"
#include "module-dir.h"

void login_limits_plugin_init(struct module *module);
void login_limits_plugin_deinit(void);

const char *login_limits_plugin_version = DOVECOT_ABI_VERSION;

struct limits {
	/* Before login, then after it. */
	unsigned int network, all, user;
};

/* network: after a restart all clients of a firm connect at once from one address, and hashes are computed one at a
   time, so fifty logins take a few seconds. user: nearly five devices with Thunderbird's five connections; a quarter
   of the imap processes remains for others (dovecot.conf). */
static const struct limits imap_limits = { .network = 60, .all = 120, .user = 24 };
/* An editor of filters uses one connection. */
static const struct limits other_limits = { .network = 10, .all = 30, .user = 4 };

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

/* Return the number of connections before login from a client's network, and the oldest that may be closed. */
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

/* Return the oldest connection that may be closed, of the network that has the most. */
static struct client *oldest_of_the_most(void)
{
	struct client *client, *oldest, *found = NULL;
	unsigned int count, most = 0;

	for (client = clients; client != NULL; client = client->next) {
		count = network_count(client, &oldest);
		/* Of networks with equal counts, the last one found has the oldest connection. */
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

/* Return the number of sessions of the user as whom this client has just authenticated. */
static unsigned int session_count(const struct client *of)
{
	const struct client *each;
	unsigned int count = 0;

	for (each = clients_get_first_fd_proxy(); each != NULL; each = each->next) {
		if (null_strcmp(each->virtual_user, of->virtual_user) == 0)
			count++;
	}
	/* Clients that wait for a mail process. */
	for (each = clients; each != NULL; each = each->next) {
		if (each != of && each->master_tag != 0 &&
		    null_strcmp(each->virtual_user, of->virtual_user) == 0)
			count++;
	}
	return count;
}

struct answered {
	struct client *client;
	struct timeout *to;
};

static void let_go(struct answered *answered)
{
	timeout_remove(&answered->to);
	client_unref(&answered->client);
	i_free(answered);
}

/* Called by Dovecot after a correct password. FALSE means that the client has been answered. */
static bool user_has_room(struct client *client)
{
	sasl_server_callback_t *answer = client->sasl_callback;
	struct answered *answered;
	const char *reason;

	if (session_count(client) < limits->user)
		return TRUE;
	reason = t_strdup_printf("The user has %u sessions already", limits->user);
	/* As Dovecot does for mail_max_userip_connections (sasl-server.c). The answer destroys the client, but our
	   caller still reads it, so a reference keeps it. */
	client_ref(client);
	answered = i_new(struct answered, 1);
	answered->client = client;
	answered->to = timeout_add_short(0, let_go, answered);
	client->authenticating = FALSE;
	auth_client_send_cancel(auth_client, client->master_auth_id);
	client->sasl_callback = NULL;
	answer(client, SASL_SERVER_REPLY_MASTER_FAILED_LIMIT, reason, NULL);
	return FALSE;
}

/* Return whether a client is connected through a Unix socket. */
static bool is_neighbour(const struct client *client)
{
	struct sockaddr_storage own;
	socklen_t size = sizeof(own);

	return getsockname(client->fd, (struct sockaddr *)&own, &size) == 0 &&
		own.ss_family == AF_UNIX;
}

static void client_allocated(struct client *client)
{
	struct client *oldest, *each;
	unsigned int all = 0;

	if (is_neighbour(client)) {
		client->connection_trusted = TRUE;
		client->connection_secured = TRUE;
	}
	client->v.sasl_check_login = user_has_room;
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
