"""Mistakes in the models: part of the registry, mutants.py."""

from typing import Any

from .mutation import Wrong, edit, mistakes


def _path(name: str) -> tuple[str, str, Wrong]:
    return f"no {name} path", f"the {name} path of E is missing", _without(name)


def _without(*paths: str) -> Wrong:
    """AttentionLM.backward, with these of E's four paths (or U's one) left out."""

    def wrong(right: Any) -> Any:
        def backward(self: Any, dlogits: Any, cache: Any) -> Any:
            grads = right(self, dlogits, cache)
            parts = self.backward_paths(dlogits, cache)._asdict()
            for path in paths:
                table = self._output_table if path == "output" else "E"
                grads[table] -= parts[path]
            return grads

        return backward

    return wrong


_DQKV = "dqkv = ops.attention_backward(dc, cache.attention)"
ATTENTION_LM = [
    *mistakes(
        "AttentionLM.backward",
        "F1–F5",
        _path("query"),
        _path("key"),
        _path("value"),
        _path("output"),
        (
            "no attention paths",
            "E gets only its gradient as the output table: query, key and value are missing",
            _without("query", "key", "value"),
        ),
        (
            "positions hand nothing on",
            "de stops at the positions: e_i = E[x_i] + P[i] hands it on to E",
            edit(
                '        grads["E"] += ops.embedding_backward(de, cache.embedding)',
                "            de = 0 * de\n"
                '        grads["E"] += ops.embedding_backward(de, cache.embedding)',
            ),
        ),
        (
            "dP by the values alone",
            "dP lacks the ways by query and key",
            edit(
                "positions_backward(de, cache.positions)",
                "positions_backward(from_v, cache.positions)\n"
                "            de = from_q + from_k + from_v",
            ),
        ),
        (
            "E assigned, not added",
            'grads["E"] = … overwrites what E gets as the output table; it should be +=',
            edit('grads["E"] +=', 'grads["E"] ='),
        ),
        (
            "divided by B again",
            "the gradient of E is divided by B: cross-entropy has taken the mean already",
            edit("return grads", 'grads["E"] /= len(dlogits)\n        return grads'),
        ),
        (
            "word 0 learns nothing",
            "the row of word 0 is cleared, as if it were padding: it is a word like the others",
            edit("return grads", 'grads["E"][0] = 0\n        return grads'),
        ),
        (
            "E one part in 1000 too large",
            "the gradient of E is one part in a thousand too large",
            edit("return grads", 'grads["E"] *= 1.001\n        return grads'),
        ),
    ),
    *mistakes(
        "AttentionLM._towards_e",
        "F3",
        (
            "ds in place of dsᵀ",
            "the key path repeats the query path; it should be dk = dsᵀ q, with the transpose",
            edit(_DQKV, f"{_DQKV}\n        dqkv = dqkv[0], dqkv[0], dqkv[2]"),
        ),
        (
            "dsᵀ in place of ds",
            "the query path repeats the key path; it should be dq = ds k, without a transpose",
            edit(_DQKV, f"{_DQKV}\n        dqkv = dqkv[1], dqkv[1], dqkv[2]"),
        ),
        (
            "the last context taken for the first",
            'with context="last", dc stands at position 1: it belongs to position n',
            edit("dc[..., -1, :] = dlast", "dc[..., 0, :] = dlast"),
        ),
        (
            "the last context taken for all",
            'with context="last", dc stands at every position: only c_n predicted',
            edit("dc[..., -1, :] = dlast", "dc[...] = dlast[..., None, :]"),
        ),
        (
            "the output table is always E",
            "an untied output table hands its gradient to E: it belongs to U",
            edit("grads[self._output_table] = ops.output", 'grads["E"] = ops.output'),
        ),
        (
            "projections not transposed",
            "de = dq W_q; it should be de = dq W_qᵀ, with the transpose",
            edit(
                "return tuple(de for de, _, _ in back)",
                "return tuple(dy @ self.params[name] for name, dy in zip(PROJECTIONS, dqkv))",
            ),
        ),
        (
            "projections exchanged",
            "W_q and W_k have each other's gradient",
            edit("zip(PROJECTIONS, back, strict=True)", "zip(('W_k', 'W_q', 'W_v'), back)"),
        ),
    ),
    *mistakes(
        "AttentionLM.forward",
        "F3",
        (
            "the mask is forgotten",
            "causal=True is not obeyed: everybody sees the future",
            edit("ops.causal_mask(e.shape[-2]) if config.causal else None", "None"),
        ),
        (
            "always masked",
            "causal=False is not obeyed: words look only at those before them",
            edit(" if config.causal else None", ""),
        ),
        (
            "the scale is forgotten",
            "the factor scale is not handed on to the attention",
            edit(
                "attention_forward(q, k, v, mask, config.scale)", "attention_forward(q, k, v, mask)"
            ),
        ),
    ),
]

GPT = [
    *mistakes(
        "GPT.backward",
        "F1, F4, F18",
        (
            "tie lost: no input path",
            "E lacks its gradient as the embedding: it embeds and predicts",
            edit('        grads["E"] += ops.embedding_backward(de, cache.embedding)\n', ""),
        ),
        (
            "tie lost: no output path",
            'grads["E"] = … overwrites what E gets as the output table; it should be +=',
            edit('grads["E"] += ops.embedding', 'grads["E"] = ops.embedding'),
        ),
        (
            "only the last block learns",
            "the way back stops after the last block: every block must be walked through",
            edit(
                "in reversed([*zip(_blocks(self.config), cache.blocks, strict=True)])",
                "in [[*zip(_blocks(self.config), cache.blocks)][-1]]",
            ),
        ),
        (
            "blocks in forward order",
            "the blocks are walked in the order of the forward; it should be the reverse",
            edit(
                "reversed([*zip(_blocks(self.config), cache.blocks, strict=True)])",
                "zip(_blocks(self.config), cache.blocks)",
            ),
        ),
        (
            "final norm skipped",
            "the step back through the last layer norm is missing",
            edit(
                "dh, *dw = ops.layer_norm_backward(dy, cache.norm)",
                "_, *dw = ops.layer_norm_backward(dy, cache.norm)\n        dh = dy",
            ),
        ),
        (
            "P one position late",
            "the gradient of P is shifted by one position",
            edit(
                "return grads", 'grads["P"] = np.roll(grads["P"], 1, axis=0)\n        return grads'
            ),
        ),
        (
            "divided by B again",
            "every gradient is divided by B: cross-entropy has taken the mean already",
            edit("return grads", "grads.flat /= len(dlogits)\n        return grads"),
        ),
        (
            "P one part in 1000 too large",
            "the gradient of P is one part in a thousand too large",
            edit("return grads", 'grads["P"] *= 1.001\n        return grads'),
        ),
    ),
    *mistakes(
        "GPT._block_backward",
        "F20, F21",
        (
            "residual past feed-forward dropped",
            "the residual path around the feed-forward is missing: dh + dy, not dy",
            edit("dh = dh + dy", "dh = dy"),
        ),
        (
            "residual past attention dropped",
            "the residual path around the attention is missing: dh + dy, not dy",
            edit("return dh + dy", "return dy"),
        ),
        (
            "no way through feed-forward",
            "the way through the feed-forward is missing: dh + dy, not dh",
            edit("        dh = dh + dy\n", ""),
        ),
        (
            "no way through attention",
            "the way through the attention is missing: dh + dy, not dh",
            edit("return dh + dy", "return dh"),
        ),
        (
            "norm1 with the cache of norm2",
            "the first layer norm goes back with the cache of the second",
            edit("layer_norm_backward(dy, cache.norm1)", "layer_norm_backward(dy, cache.norm2)"),
        ),
        (
            "norm skipped",
            "the step back through the first layer norm is missing",
            edit(
                "dy, *dw = ops.layer_norm_backward(dy, cache.norm1)",
                "_, *dw = ops.layer_norm_backward(dy, cache.norm1)",
            ),
        ),
        (
            "the bias of q, k, v as k, q, v",
            "the gradient of b_qkv holds its parts in another order than q, k, v",
            edit(
                'put(grads, f"{block}.attention", SELF_ATTENTION, dw)',
                "dw[1] = None if dw[1] is None else np.roll(dw[1], dh.shape[-1])\n"
                '        put(grads, f"{block}.attention", SELF_ATTENTION, dw)',
            ),
        ),
        (
            "biases taken for granted",
            "the backward fails where there are no biases: their gradient is None",
            edit(
                'put(grads, f"{block}.attention", SELF_ATTENTION, dw)',
                'put(grads, f"{block}.attention", SELF_ATTENTION, [1.0 * x for x in dw])',
            ),
        ),
        (
            "dropout masks exchanged",
            "the two dropouts of a block have each other's mask",
            edit("dropout_backward(dh, cache.dropout2)", "dropout_backward(dh, cache.dropout1)"),
        ),
    ),
    *mistakes(
        "GPT.forward",
        "F20",
        (
            "no mask",
            "the mask is missing: every token sees what it must predict",
            edit(
                "blockwise_attention.way_for(h.shape[-2], self.config.recompute)", '"whole", None'
            ),
        ),
    ),
]

BERT = [
    *mistakes(
        "BERT.encode_backward",
        "F1, F13, F18",
        (
            "no segment path",
            "the segments learn nothing: G gets the same gradient as E and P",
            edit('        grads["G"] = ops.embedding_backward(dy, cache.segments)\n', ""),
        ),
        (
            "segments counted as words",
            "the gradient of G is sorted by words: it belongs to the segments",
            edit(
                "ops.embedding_backward(dy, cache.segments)",
                "ops.embedding_backward(dy, cache.embedding)[: len(grads['G'])]",
            ),
        ),
        (
            "tie lost: no output path",
            'grads["E"] = … overwrites what the head has put there; it should be +=',
            edit('grads["E"] +=', 'grads["E"] ='),
        ),
        (
            "first norm skipped",
            "the step back through the layer norm of the embedding is missing",
            edit("dh, *dw = ops.layer_norm_backward(dh,", "_, *dw = ops.layer_norm_backward(dh,"),
        ),
        (
            "blocks in forward order",
            "the blocks are walked in the order of the forward; it should be the reverse",
            edit(
                "reversed([*zip(_blocks(self.config), cache.blocks, strict=True)])",
                "zip(_blocks(self.config), cache.blocks)",
            ),
        ),
    ),
    *mistakes(
        "BERT._block_backward",
        "F13, F20, F21",
        (
            "residual past feed-forward dropped",
            "the residual path around the feed-forward is missing: ds + dy, not dy",
            edit("(ds + dy, cache.norm1)", "(dy, cache.norm1)"),
        ),
        (
            "residual past attention dropped",
            "the residual path around the attention is missing: ds + dy, not dy",
            edit("return ds + dy", "return dy"),
        ),
        (
            "residual past the norm",
            "the residual path goes around the norm, as in GPT: in BERT it passes through it",
            edit("(ds + dy, cache.norm1)", "(dh + dy, cache.norm1)"),
        ),
        (
            "dropout masks exchanged",
            "the two dropouts of a block have each other's mask",
            edit("(ds, cache.dropout2)", "(ds, cache.dropout1)"),
        ),
    ),
    *mistakes(
        "BERTForMaskedLM.head_backward",
        "F4",
        (
            "tie lost: the head",
            "E lacks its gradient as the output table",
            edit('dy, grads["E"] = ops.output_backward', "dy, _ = ops.output_backward"),
        ),
        (
            "GELU skipped",
            "the step back through the GELU of the transform is missing",
            edit("ops.gelu_exact_backward(dy, cache.gelu)", "dy"),
        ),
        (
            "db_V averaged",
            "the gradient of the output bias is a mean over the tokens; it should be their sum",
            edit(".sum(axis=0)", ".mean(axis=0)"),
        ),
    ),
    *mistakes(
        "BERTForClass.head_backward",
        "F22",
        (
            "the last token for the first",
            "dh stands at the last token: the class is read from the first",
            edit("dh[..., 0, :] = dh_1", "dh[..., -1, :] = dh_1"),
        ),
        (
            "tanh skipped",
            "the step back through tanh is missing",
            edit(
                "ops.tanh_backward(ops.dropout_backward(dy, cache.dropout), cache.tanh)",
                "ops.dropout_backward(dy, cache.dropout)",
            ),
        ),
        (
            "dropout skipped",
            "the step back through the dropout of the head is missing",
            edit("ops.dropout_backward(dy, cache.dropout)", "dy"),
        ),
    ),
    *mistakes(
        "BERTForSpan.head_backward",
        "F12",
        (
            "start and end exchanged",
            "the start has the gradient of the end, and the end that of the start",
            edit("dlogits.swapaxes(-1, -2)", "dlogits[..., ::-1, :].swapaxes(-1, -2)"),
        ),
        (
            "logits not turned back",
            "dlogits (2, T) are poured into (T, 2): their axes must be exchanged",
            edit(
                "dlogits.swapaxes(-1, -2)",
                "dlogits.reshape(*dlogits.shape[:-2], dlogits.shape[-1], 2)",
            ),
        ),
    ),
]

TRANSFORMER = [
    *mistakes(
        "Transformer.backward",
        "F1",
        (
            "the encoder learns nothing",
            "the gradient stops at the memory: it goes on into the encoder",
            edit("        self.encode_backward(dmemory, cache.encoder, grads)\n", ""),
        ),
    ),
    *mistakes(
        "Transformer.decode_backward",
        "F20",
        (
            "memory of one block",
            "dmemory holds what one block reads: every block reads it, so all must add",
            edit("dmemory = dmemory + dread", "dmemory = dread"),
        ),
        (
            "residual past cross-attention dropped",
            "the residual path around the cross-attention is missing: ds + dy, not dy",
            edit("(ds + dy, c.norm1", "(dy, c.norm1"),
        ),
        (
            "residual past feed-forward dropped",
            "the residual path around the decoder's feed-forward is missing: ds + dy, not dy",
            edit("(ds + dy, c.norm2", "(dy, c.norm2"),
        ),
        (
            "tie lost: no output path",
            "E lacks its gradient as the output table",
            edit('        grads["E"] += dE\n', ""),
        ),
    ),
    *mistakes(
        "Transformer.encode_backward",
        "F20",
        (
            "residual past attention dropped",
            "the residual path around the encoder's attention is missing: ds + dy, not dy",
            edit("dh = ds + dy", "dh = dy"),
        ),
    ),
    *mistakes(
        "Transformer._embed_backward",
        "F1",
        (
            "√C missing",
            "the gradient of E lacks the factor √C of the embedding",
            edit(" * math.sqrt(self.config.width)", ""),
        ),
        (
            "tie lost: assigned",
            'grads["E"] = … overwrites what the other uses of E have put there; it should be +=',
            edit('grads["E"] +=', 'grads["E"] ='),
        ),
    ),
    *mistakes(
        "_add_norm_backward",
        "F17",
        (
            "dropout skipped",
            "dy is not sent back through the dropout: dh = ds, dy = m ds",
            edit("return ds, ops.dropout_backward(ds, cache.dropout)", "return ds, ds"),
        ),
        (
            "dropout on the residual",
            "the residual path is sent back through the dropout: dh = ds, dy = m ds",
            edit(
                "return ds, ops.drop",
                "ds = ops.dropout_backward(ds, cache.dropout)\n    return ds, ops.drop",
            ),
        ),
    ),
]

MODELS = [*ATTENTION_LM, *GPT, *BERT, *TRANSFORMER]
