// Drives a context's sequences as a script on stdin says, and holds every decode against a
// clean run: a second context, cleared before each use, that decodes the sequence's whole
// history in one go. Public llama.h only, so that it compiles against any engine.
//
//   sequences MODEL N_SEQ N_RS_SEQ UNIFIED < script
//
//   decode S N [S N ...]  N new tokens to each sequence S, one batch  -> error R (worst of the S)
//   rollback S N          drop the last N tokens of S                 -> accepted | refused
//   copy A B              seq_cp of A to B; B should be empty: attention merges, states do not
//   keep S                drop every other sequence
//   remove S              drop S, by the open range -1, -1
//   erase S               drop S, by its exact range of positions
//   save S, load S        sequence state to memory and back (load: into any S)
//   saveall, loadall      the same for the whole context
//   seed N                start the random tokens anew
//   logits                the logits of the last decode's first sequence
//
// R is the Euclidean distance of the last token's logits from the clean run's, over the
// length of the latter. Every command answers one line; those above without answer say "ok".

#include "llama.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

using tokens = std::vector<llama_token>;
using context = std::unique_ptr<llama_context, decltype(&llama_free)>;
using model = std::unique_ptr<llama_model, decltype(&llama_model_free)>;

static const int n_ubatch = 16;

[[noreturn]] static void fail(const std::string & message) {
    fprintf(stderr, "%s\n", message.c_str());
    std::exit(1);
}

static uint32_t n_vocab(const llama_context * ctx) {
    return static_cast<uint32_t>(llama_vocab_n_tokens(llama_model_get_vocab(llama_get_model(ctx))));
}

struct feed {
    llama_seq_id seq;
    tokens       ids;
    llama_pos    start;
};

// decode all feeds as one batch; the logits of each feed's last token
static std::vector<std::vector<float>> decode(llama_context * ctx, const std::vector<feed> & feeds) {
    llama_batch batch = llama_batch_init(1024, 0, 1);
    std::vector<int> last;
    for (const feed & f : feeds) {
        for (size_t i = 0; i < f.ids.size(); ++i) {
            const int n = batch.n_tokens++;
            batch.token[n] = f.ids[i];
            batch.pos[n] = f.start + static_cast<llama_pos>(i);
            batch.n_seq_id[n] = 1;
            batch.seq_id[n][0] = f.seq;
            batch.logits[n] = i + 1 == f.ids.size();
        }
        last.push_back(batch.n_tokens - 1);
    }
    const int status = llama_decode(ctx, batch);
    if (status != 0) {
        fail("llama_decode: " + std::to_string(status));
    }
    std::vector<std::vector<float>> logits;
    for (int i : last) {
        const float * row = llama_get_logits_ith(ctx, i);
        logits.emplace_back(row, row + n_vocab(ctx));
    }
    llama_batch_free(batch);
    return logits;
}

static double distance(const std::vector<float> & a, const std::vector<float> & b) {
    double off = 0;
    double length = 0;
    for (size_t i = 0; i < a.size(); ++i) {
        off += (a[i] - b[i]) * (a[i] - b[i]);
        length += b[i] * b[i];
    }
    return std::sqrt(off / length);
}

struct session {
    llama_context *                ctx = nullptr;
    llama_context *                clean = nullptr;
    std::map<llama_seq_id, tokens> history;
    uint32_t                       random = 1;
    std::vector<float>             logits;

    llama_memory_t memory() { return llama_get_memory(ctx); }

    llama_token next_token() {
        random = random * 1664525u + 1013904223u;
        return static_cast<llama_token>((random >> 16) % n_vocab(ctx));
    }

    double run(std::istringstream & args) {
        std::vector<feed> feeds;
        llama_seq_id seq;
        int n;
        while (args >> seq >> n) {
            feed f{seq, {}, static_cast<llama_pos>(history[seq].size())};
            for (int i = 0; i < n; ++i) {
                f.ids.push_back(next_token());
            }
            history[seq].insert(history[seq].end(), f.ids.begin(), f.ids.end());
            feeds.push_back(std::move(f));
        }
        const auto rows = decode(ctx, feeds);
        logits = rows.at(0);
        double worst = 0;
        for (size_t i = 0; i < feeds.size(); ++i) {
            llama_memory_clear(llama_get_memory(clean), true);
            const auto expected = decode(clean, {{0, history[feeds[i].seq], 0}});
            worst = std::max(worst, distance(rows[i], expected[0]));
        }
        return worst;
    }

    bool rollback(llama_seq_id seq, int n) {
        tokens & past = history[seq];
        const size_t left = past.size() - static_cast<size_t>(n);
        if (!llama_memory_seq_rm(memory(), seq, static_cast<llama_pos>(left), -1)) {
            return false;
        }
        past.resize(left);
        return true;
    }
};

struct stored {
    std::vector<uint8_t>           bytes;
    std::map<llama_seq_id, tokens> history;
};

static stored save(session & s, llama_seq_id seq) {
    stored state;
    const bool all = seq < 0;
    state.history = all ? s.history : std::map<llama_seq_id, tokens>{{0, s.history[seq]}};
    state.bytes.resize(all ? llama_state_get_size(s.ctx) : llama_state_seq_get_size(s.ctx, seq));
    const size_t n = all ? llama_state_get_data(s.ctx, state.bytes.data(), state.bytes.size())
                         : llama_state_seq_get_data(s.ctx, state.bytes.data(), state.bytes.size(), seq);
    if (n == 0) {
        fail("saving the state failed");
    }
    return state;
}

static void load(session & s, const stored & state, llama_seq_id seq) {
    const bool all = seq < 0;
    const size_t n = all ? llama_state_set_data(s.ctx, state.bytes.data(), state.bytes.size())
                         : llama_state_seq_set_data(s.ctx, state.bytes.data(), state.bytes.size(), seq);
    if (n == 0) {
        fail("loading the state failed");
    }
    if (all) {
        s.history = state.history;
    } else {
        s.history[seq] = state.history.at(0);
    }
}

static std::string answer(session & s, stored & state, const std::string & line) {
    std::istringstream args(line);
    std::string command;
    args >> command;
    if (command == "decode") {
        std::ostringstream error;
        error << "error " << s.run(args);
        return error.str();
    }
    if (command == "logits") {
        std::ostringstream row;
        row.precision(9);
        for (float x : s.logits) {
            row << x << ' ';
        }
        return row.str();
    }
    llama_seq_id a = -1;
    int b = -1;
    args >> a >> b;
    if (command == "rollback") {
        return s.rollback(a, b) ? "accepted" : "refused";
    }
    if (command == "copy") {
        llama_memory_seq_cp(s.memory(), a, b, -1, -1);
        s.history[b] = s.history[a];
    } else if (command == "keep") {
        llama_memory_seq_keep(s.memory(), a);
        s.history = {{a, s.history[a]}};
    } else if (command == "remove") {
        llama_memory_seq_rm(s.memory(), a, -1, -1);
        s.history[a].clear();
    } else if (command == "erase") {
        llama_memory_seq_rm(s.memory(), a, 0, static_cast<llama_pos>(s.history[a].size()));
        s.history[a].clear();
    } else if (command == "seed") {
        s.random = static_cast<uint32_t>(a);
    } else if (command == "save" || command == "saveall") {
        state = save(s, a);
    } else if (command == "load" || command == "loadall") {
        load(s, state, a);
    } else {
        fail("unknown command: " + line);
    }
    return "ok";
}

static context make_context(llama_model * m, int n_seq, int n_rs_seq, bool unified) {
    llama_context_params params = llama_context_default_params();
    params.n_ctx = unified ? 1024 : 512 * static_cast<uint32_t>(n_seq);
    params.n_batch = 512;
    params.n_ubatch = n_ubatch;
    params.n_seq_max = static_cast<uint32_t>(n_seq);
    params.n_rs_seq = static_cast<uint32_t>(n_rs_seq);
    params.kv_unified = unified;
    // half precision would turn rounding in the last bit into errors of 1e-5
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    params.type_k = GGML_TYPE_F32;
    params.type_v = GGML_TYPE_F32;
    params.n_threads = 1;
    params.n_threads_batch = 1;
    context ctx(llama_init_from_model(m, params), llama_free);
    if (!ctx || llama_n_rs_seq(ctx.get()) != static_cast<uint32_t>(n_rs_seq)) {
        fail("no context with " + std::to_string(n_rs_seq) + " rollback snapshots");
    }
    return ctx;
}

int main(int argc, char ** argv) {
    if (argc != 5) {
        fail("usage: sequences MODEL N_SEQ N_RS_SEQ UNIFIED < script");
    }
    llama_log_set([](ggml_log_level level, const char * text, void *) {
        if (level == GGML_LOG_LEVEL_ERROR || level == GGML_LOG_LEVEL_WARN) {
            fputs(text, stderr);
        }
    }, nullptr);
    const model m(llama_model_load_from_file(argv[1], llama_model_default_params()), llama_model_free);
    if (!m) {
        fail("cannot load the model");
    }
    const context ctx = make_context(m.get(), std::atoi(argv[2]), std::atoi(argv[3]), std::atoi(argv[4]) != 0);
    const context clean = make_context(m.get(), 1, 0, true);
    session s;
    s.ctx = ctx.get();
    s.clean = clean.get();
    stored state;
    std::string line;
    while (std::getline(std::cin, line)) {
        std::cout << answer(s, state, line) << std::endl;
    }
}
