/* standin-ctl show | outside CARD BYTES | fail CARD CUDA_ERROR | copy CARD KB_PER_S | refuse CARD FROM COUNT: look at the cards
 * of STANDIN_STATE, or change them while they are used, and say as JSON what they are like then.
 *
 * `outside`: memory that somebody else takes. `fail`: what every call to the card answers from now on (0: none). `copy`: how
 * fast copies are from now on (0: as fast as the host). `refuse`: of the times that memory is asked for from now on, the one
 * with the number FROM (1: the next) and those after it, COUNT in all, are refused; it sets the count of asks to 0. */
#include "cards.h"

typedef unsigned long long number;

static int change(struct standin_state *state, int count, char **given) {
    int index = count > 2 ? atoi(given[2]) : 0;
    if (index < 0 || index >= state->cards) return 0;
    struct standin_card *card = &state->card[index];
    if (count == 2 && !strcmp(given[1], "show")) return 1;
    if (count == 4 && !strcmp(given[1], "outside")) return card->outside_bytes = strtoull(given[3], NULL, 10), 1;
    if (count == 4 && !strcmp(given[1], "fail")) return card->failure = atoi(given[3]), 1;
    if (count == 4 && !strcmp(given[1], "copy")) return card->copy_kb_per_s = strtoull(given[3], NULL, 10), 1;
    if (count != 5 || strcmp(given[1], "refuse")) return 0;
    card->asks = 0;
    card->refuse_from = strtoull(given[3], NULL, 10);
    card->refuse_until = card->refuse_from + strtoull(given[4], NULL, 10);
    return 1;
}

static void show_process(const struct standin_process *process, int cards) {
    printf("{\"pid\": %d, \"launches\": %llu, \"copied_bytes\": %llu, ", process->pid, (number)process->launches,
           (number)process->copied_bytes);
    printf("\"locked_bytes\": %llu, \"stale_copies\": %llu, \"used_bytes\": [", (number)process->locked_bytes,
           (number)process->stale_copies);
    for (int i = 0; i < cards; i++)
        printf("%s%llu", i ? ", " : "", (number)(process->context_bytes[i] + process->memory_bytes[i]));
    printf("]}");
}

static void show(struct standin_state *state) {
    printf("{\"cards\": [");
    for (int i = 0; i < state->cards; i++) {
        const struct standin_card *card = &state->card[i];
        printf("%s{\"total_bytes\": %llu, \"used_bytes\": %llu, \"outside_bytes\": %llu, \"failure\": %d, \"asks\": %llu}",
               i ? ", " : "", (number)card->total_bytes, (number)standin_used(state, i), (number)card->outside_bytes,
               card->failure, (number)card->asks);
    }
    printf("], \"processes\": [");
    const char *between = "";
    for (int i = 0; i < STANDIN_PROCESSES; i++) {
        if (!state->process[i].pid) continue;
        printf("%s", between);
        show_process(&state->process[i], state->cards);
        between = ", ";
    }
    printf("]}\n");
}

int main(int count, char **given) {
    struct standin_state *state = standin_open();
    if (!state) return fprintf(stderr, "standin-ctl: STANDIN_STATE names no file that can be made\n"), 2;
    standin_lock(state);
    standin_bury(state);
    int understood = change(state, count, given);
    if (understood) show(state);
    standin_unlock(state);
    if (understood) return 0;
    fprintf(stderr, "standin-ctl: show | outside CARD BYTES | fail CARD CUDA_ERROR | copy CARD KB_PER_S |"
                    " refuse CARD FROM COUNT\n");
    return 2;
}
