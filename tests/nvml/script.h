/* The script that the stand-in for NVIDIA's management library plays: lines of "key value", read anew for every call. */

#ifndef CITADEL_TESTS_NVML_SCRIPT_H
#define CITADEL_TESTS_NVML_SCRIPT_H

enum { PREFIX_SIZE = 48, VALUE_SIZE = 4096 };

/* Read the script named by CITADEL_NVML_SCRIPT. Returns 0 when there is none. What was read belongs to the calling thread. */
int script_read(void);

/* The value of "PREFIX.KEY", or of KEY where the prefix is empty; NULL when the script has no such line. The answer is good
   until the thread's next question. */
const char *script_text(const char *prefix, const char *key);

/* The same as a number. Returns 0 when the script has no such line. */
int script_number(const char *prefix, const char *key, unsigned long long *value);

/* Note the call in "SCRIPT.calls", then be as slow, or as stuck, as the script wants it to be; being stuck is noted too. */
void script_play(const char *call, const char *whom);

#endif
