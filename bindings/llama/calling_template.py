"""ChatML with functions, for models whose own template knows none."""

TEMPLATE = r"""
{%- macro said(role, content) -%}
{{- '<|im_start|>' + role + '\n' + content + '<|im_end|>\n' -}}
{%- endmacro -%}
{%- set ns = namespace(system='') -%}
{%- if messages[0].role == 'system' -%}
{%- set ns.system = messages[0].content -%}
{%- endif -%}
{%- if tools -%}
{%- if ns.system -%}{%- set ns.system = ns.system + '\n\n' -%}{%- endif -%}
{%- set ns.system = ns.system + 'Functions, one a line:\n<tools>' -%}
{%- for tool in tools -%}
{%- set ns.system = ns.system + '\n' + (tool.function | tojson) -%}
{%- endfor -%}
{%- set ns.system = ns.system + '\n</tools>\nTo call one of them, write its name and its arguments '
    + 'as JSON:\n<tool_call>\n{"name": "a function", "arguments": {}}\n</tool_call>' -%}
{%- endif -%}
{%- if ns.system -%}{{- said('system', ns.system) -}}{%- endif -%}
{%- for message in messages -%}
{%- if message.role == 'tool' -%}
{{- said('user', '<tool_response>\n' + message.content + '\n</tool_response>') -}}
{%- elif message.role == 'assistant' and message.tool_calls -%}
{{- '<|im_start|>assistant\n' -}}
{%- if message.content -%}{{- message.content + '\n' -}}{%- endif -%}
{%- for call in message.tool_calls -%}
{{- '<tool_call>\n{"name": ' + (call.function.name | tojson) + ', "arguments": ' -}}
{{- (call.function.arguments | tojson) + '}\n</tool_call>' -}}
{%- if not loop.last -%}{{- '\n' -}}{%- endif -%}
{%- endfor -%}
{{- '<|im_end|>\n' -}}
{%- elif not (loop.first and message.role == 'system') -%}
{{- said(message.role, message.content or '') -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}
"""
END = "<|im_end|>"
