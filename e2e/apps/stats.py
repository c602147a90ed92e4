"""A small app of streamlit: a number, and a text that follows it by the app's WebSocket."""

import streamlit

streamlit.title("Statistics")
number = streamlit.number_input("A number", min_value=0, max_value=100, value=20, step=1)
streamlit.write(f"its square is {number * number}")
