/* A Dovecot plugin (login_limits): bounds the connections that have not logged in yet, and a user's sessions.
 *
 * Before login: one process holds all connections of a protocol, those of users who are in and those of strangers
 * who only hold the door; Dovecot itself bounds both together (client_limit), without a look at who
 * they are. A connection before login costs some 100 KB (TLS, and up to 8 KB of what was sent): 444 of
 * them had the kernel kill the process, and with it everybody's connection.
 *
 * Limit the connections before login, of one network and of all together. Beyond that the
 * oldest one goes, of that network or of the one that has the most: who logs in is done within a
 * second, who holds the door is the oldest. A client that is logged in, or waits for its mail process, is left
 * alone. A network is an IPv4 address, or an IPv6 one's first 64 bits, which is the least that anybody has.
 *
 * After login: limit the sessions of a user over all addresses, so that a thief who has one password
 * and many addresses cannot take every process. Dovecot's own mail_max_userip_connections counts each
 * address for itself. All sessions pass through this process, which holds their TLS, so it can count them.
 *
 * By a socket comes the web container alone (web.conf): it is trusted as login_trusted_networks would be,
 * which knows networks only. Its connections count as those of one network, and its processes bound them.
 *
 * DIAGNOSTICS: "Login aborted: Too many connections before login" with the address that it went to;
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

/* All clients of a firm come at once after a restart, from one address; a second hash waits for the
   first one, so fifty of them need a few seconds. Five devices of a user with the five connections that
   Thunderbird has, and a quarter of the imap processes is left to others (dovecot.conf). */
static const struct limits imap_limits = { .network = 60, .all = 120, .user = 24 };
/* A filter editor has one connection. */
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

/* Sessions of the user that this client has just proved to be. */
static unsigned int session_count(const struct client *of)
{
	const struct client *each;
	unsigned int count = 0;

	for (each = clients_get_first_fd_proxy(); each != NULL; each = each->next) {
		if (null_strcmp(each->virtual_user, of->virtual_user) == 0)
			count++;
	}
	/* Those on their way to a mail process. */
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

/* Dovecot asks this when a password was right; FALSE says that the client has had its answer. */
static bool user_has_room(struct client *client)
{
	sasl_server_callback_t *answer = client->sasl_callback;
	struct answered *answered;
	const char *reason;

	if (session_count(client) < limits->user)
		return TRUE;
	reason = t_strdup_printf("The user has %u sessions already", limits->user);
	/* As Dovecot does for mail_max_userip_connections (sasl-server.c); but our caller still looks at the
	   client, which the answer destroys. */
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

/* Whether a client came by a socket of the file system. */
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
