/* A Dovecot plugin (filing_rules): logs which line of which filter filed a message.
 *
 * Dovecot logs the action of a filter ("stored mail into mailbox 'Lists'"), but not the rule. The event
 * sieve_action_finished has the rule (script_location), but Dovecot's own export of that event includes the message's
 * subject. So this plugin logs a line after each action of a filter, without any content of the message:
 *
 *     sieve rule: session=<SESSION> action=fileinto by=rules: line 3
 *
 * `plexus trace` reads it. tests/service/test_sieve.py (test_log_says_which_rule_filed_a_mail) fails without it.
 */
#include "lib.h"
#include "str-sanitize.h"
#include "lib-event-private.h"
#include "module-context.h"

#define LONGEST_NAME 200

struct module;
void filing_rules_plugin_init(struct module *module);
void filing_rules_plugin_deinit(void);

const char *filing_rules_plugin_version = DOVECOT_ABI_VERSION;

static bool tell_rule(struct event *event, enum event_callback_type type,
		      struct failure_context *ctx ATTR_UNUSED, const char *fmt ATTR_UNUSED,
		      va_list args ATTR_UNUSED)
{
	const char *action, *rule, *session;

	if (type != EVENT_CALLBACK_TYPE_SEND || event->sending_name == NULL ||
	    strcmp(event->sending_name, "sieve_action_finished") != 0)
		return TRUE;
	/* There is no rule if the message goes to the inbox by default. */
	rule = event_find_field_recursive_str(event, "script_location");
	action = event_find_field_recursive_str(event, "action_name");
	session = event_find_field_recursive_str(event, "session");
	if (rule != NULL && action != NULL && session != NULL) T_BEGIN {
		i_info("sieve rule: session=<%s> action=%s by=%s", session, action,
		       str_sanitize(rule, LONGEST_NAME));
	} T_END;
	return TRUE;
}

void filing_rules_plugin_init(struct module *module ATTR_UNUSED)
{
	event_register_callback(tell_rule);
}

void filing_rules_plugin_deinit(void)
{
	event_unregister_callback(tell_rule);
}
